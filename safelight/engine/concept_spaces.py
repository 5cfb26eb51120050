"""The concept spaces of the artist's text encoders, remembered between prompts."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import comfy.utils

from safelight.engine import kept_spaces
from safelight.engine.encoder import encode_neutral, known_phrases, own_anchors
from safelight.engine.planned_encoder import PlannedEncoder
from safelight.text.anchors import FEW_BENIGN, FEW_UNSAFE, anchors_for
from safelight.text.concept_fit import Anchors, concept_space, encode_anchors
from safelight.text.concept_space import ConceptSpace

if TYPE_CHECKING:
    import torch
    from comfy.sd import CLIP

_MOST_ANCHORS = 2  # per text encoder: with and without a LoRA, or at two clip skips
_MOST_SPACES = 8
_MOST_PRINTS = 8

Value = TypeVar("Value")
Memory = OrderedDict[Hashable, Value]  # the oldest first


@dataclass(frozen=True)
class _Known:
    """What is known of a text encoder, by its state. prints: of its weights, by which spaces are found on disk."""

    prints: Memory[str | None] = field(default_factory=OrderedDict)
    anchors: Memory[Anchors] = field(default_factory=OrderedDict)
    spaces: Memory[ConceptSpace] = field(default_factory=OrderedDict)


_memory: weakref.WeakKeyDictionary[torch.nn.Module, _Known] = weakref.WeakKeyDictionary()


def clip_state(clip: CLIP) -> tuple[Hashable, ...]:
    """The differences between CLIPs on the same weights: LoRA patches, a redaction, clip skip, options."""
    options = sorted((str(key), str(value)) for key, value in getattr(clip, "tokenizer_options", {}).items())
    objects = sorted((name, str(getattr(each, "uuid", id(each)))) for name, each in clip.patcher.object_patches.items())
    return (clip.patcher.patches_uuid, clip.layer_idx, tuple(options), tuple(objects))


def weights_print(clip: CLIP) -> str | None:
    """That of kept_spaces, remembered: all weights are read for it, which are gigabytes for a large T5."""
    prints = _memory.setdefault(clip.cond_stage_model, _Known()).prints
    return recall(prints, clip_state(clip), lambda: kept_spaces.weights_print(clip), _MOST_PRINTS)


def space_of(clip: CLIP, concepts: Sequence[str]) -> ConceptSpace:
    """The concept space of this CLIP, from memory or from disk where it is known. The concepts must not be empty; those
    of which the encoder knows no word are left out.

    It is fitted to benign and unsafe phrases: the shipped English ones, or the encoder's own.
    """
    concepts = known_phrases(clip, concepts, "concepts")
    anchors = own_anchors(clip)
    benign, unsafe = anchors_for(concepts) if anchors is None else (anchors["benign"], anchors["unsafe"])
    every_benign, every_unsafe = list(FEW_BENIGN), [phrase for phrases in FEW_UNSAFE.values() for phrase in phrases]
    if anchors is not None:
        every_benign, every_unsafe = list(benign), list(unsafe)
    known, state = _memory.setdefault(clip.cond_stage_model, _Known()), clip_state(clip)
    key = (*state, tuple(every_benign), tuple(every_unsafe))

    def encode_all() -> Anchors:
        planned = list(dict.fromkeys([*every_benign, *every_unsafe]))
        bar = comfy.utils.ProgressBar(len(planned))
        return encode_anchors(every_benign, every_unsafe, PlannedEncoder(clip, planned, bar.update))

    def read_or_fit() -> ConceptSpace:
        weights = weights_print(clip)
        file = None if weights is None else kept_spaces.fingerprint(clip, weights, every_benign, every_unsafe, concepts)
        space = None if file is None else kept_spaces.load(file)
        if space is None:
            encoded = recall(known.anchors, key, encode_all, _MOST_ANCHORS)
            space = concept_space(encoded, benign, unsafe, concepts, lambda text: encode_neutral(clip, text))
            if file is not None:
                kept_spaces.save(file, space)
        return space

    return recall(known.spaces, (*key, tuple(concepts)), read_or_fit, _MOST_SPACES)


def recall(memory: Memory[Value], key: Hashable, make: Callable[[], Value], most: int) -> Value:
    """What is remembered by this key, made where it is not. Keeps the `most` that were asked for last."""
    value = memory[key] = memory.pop(key) if key in memory else make()
    while len(memory) > most:
        memory.popitem(last=False)
    return value
