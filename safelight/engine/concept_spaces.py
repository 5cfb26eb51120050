"""The concept spaces of the artist's text encoders, remembered between prompts."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

import comfy.utils

from safelight.engine.encoder import encode_neutral
from safelight.text.anchors import BENIGN, UNSAFE, anchors_for
from safelight.text.concept_fit import Anchors, concept_space, encode_anchors
from safelight.text.concept_space import ConceptSpace
from safelight.text.encoding import Encoding, text_of

if TYPE_CHECKING:
    import torch
    from comfy.sd import CLIP

_MOST_ANCHORS = 2  # per text encoder: with and without a LoRA, or at two clip skips
_MOST_SPACES = 8

Value = TypeVar("Value")
Memory = OrderedDict[Hashable, Value]  # the oldest first

_memory: weakref.WeakKeyDictionary[torch.nn.Module, tuple[Memory[Anchors], Memory[ConceptSpace]]]
_memory = weakref.WeakKeyDictionary()


def _fingerprint(clip: CLIP) -> tuple[Hashable, ...]:
    """The differences between CLIPs on the same weights: LoRA patches, a redaction, clip skip, options."""
    options = sorted((str(key), str(value)) for key, value in getattr(clip, "tokenizer_options", {}).items())
    objects = sorted((name, str(getattr(each, "uuid", id(each)))) for name, each in clip.patcher.object_patches.items())
    return (clip.patcher.patches_uuid, clip.layer_idx, tuple(options), tuple(objects))


def anchor_phrases(clip: CLIP, concepts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Benign and unsafe phrases that fit these concepts.

    They are the shipped English ones, or those of the tokenizer's attribute `safelight_anchors`, {"benign": [...],
    "unsafe": [...]}, which an encoder of another language needs.
    """
    anchors = getattr(clip.tokenizer, "safelight_anchors", None)
    return anchors_for(concepts) if anchors is None else (list(anchors["benign"]), list(anchors["unsafe"]))


def space_of(clip: CLIP, concepts: Sequence[str]) -> ConceptSpace:
    """The concept space of this CLIP, from memory where it is known. The concepts must not be empty.

    It is fitted to the phrases of anchor_phrases.
    """
    benign, unsafe = anchor_phrases(clip, concepts)
    if hasattr(clip.tokenizer, "safelight_anchors"):
        all_benign, all_unsafe = benign, unsafe
    else:
        all_benign, all_unsafe = list(BENIGN), [phrase for phrases in UNSAFE.values() for phrase in phrases]
    known_anchors, known_spaces = _memory.setdefault(clip.cond_stage_model, (OrderedDict(), OrderedDict()))
    key = (*_fingerprint(clip), tuple(all_benign), tuple(all_unsafe))
    space_key = (*key, tuple(concepts))
    if space_key in known_spaces:
        known_spaces.move_to_end(space_key)
        return known_spaces[space_key]
    if key not in known_anchors:
        bar = comfy.utils.ProgressBar(len(all_benign) + len(all_unsafe))

        def encode_anchor(phrase: str) -> Encoding:
            bar.update(1)
            return encode_neutral(clip, phrase)

        _remember(known_anchors, key, encode_anchors(all_benign, all_unsafe, encode_anchor), _MOST_ANCHORS)
    known_anchors.move_to_end(key)
    with text_of("concepts"):
        space = concept_space(known_anchors[key], benign, unsafe, concepts, lambda phrase: encode_neutral(clip, phrase))
    _remember(known_spaces, space_key, space, _MOST_SPACES)
    return space


def _remember(memory: Memory[Value], key: Hashable, value: Value, most: int) -> None:
    """Puts the value last, and drops the oldest of more than `most`."""
    memory[key] = value
    while len(memory) > most:
        memory.popitem(last=False)
