"""The concept spaces of the artist's text encoders, kept between prompts."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import comfy.utils

from safelight.engine.encoder import encode_neutral
from safelight.text.anchors import BENIGN, UNSAFE, anchors_for
from safelight.text.concept_fit import Anchors, concept_space, encode_anchors
from safelight.text.concept_space import ConceptSpace
from safelight.text.encoding import Encoding

_KEPT_ANCHORS = 2  # per text encoder: with and without a LoRA, or at two clip skips
_KEPT_SPACES = 8

_memory: weakref.WeakKeyDictionary[Any, tuple[OrderedDict[Any, Anchors], OrderedDict[Any, ConceptSpace]]]
_memory = weakref.WeakKeyDictionary()


def _fingerprint(clip: Any) -> tuple[Any, ...]:
    """What tells two CLIPs on the same weights apart: LoRA patches, a redaction, clip skip, options."""
    options = sorted((str(key), str(value)) for key, value in getattr(clip, "tokenizer_options", {}).items())
    objects = sorted((name, str(getattr(each, "uuid", id(each)))) for name, each in clip.patcher.object_patches.items())
    return (clip.patcher.patches_uuid, clip.layer_idx, tuple(options), tuple(objects))


def anchor_phrases(clip: Any, concepts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Benign and unsafe phrases that fit these concepts.

    They are the shipped English ones, or the encoder's own where its tokenizer has the attribute `safelight_anchors`,
    {"benign": [...], "unsafe": [...]}: an encoder with a language of its own needs those.
    """
    own = getattr(clip.tokenizer, "safelight_anchors", None)
    return anchors_for(concepts) if own is None else (list(own["benign"]), list(own["unsafe"]))


def space_of(clip: Any, concepts: Sequence[str]) -> ConceptSpace:
    """The concept space of this CLIP, from memory where it is known. The concepts must not be empty.

    Anchors: see anchor_phrases.
    """
    benign, unsafe = anchor_phrases(clip, concepts)
    if hasattr(clip.tokenizer, "safelight_anchors"):
        all_benign, all_unsafe = benign, unsafe
    else:
        all_benign, all_unsafe = list(BENIGN), [phrase for phrases in UNSAFE.values() for phrase in phrases]
    anchors_kept, spaces_kept = _memory.setdefault(clip.cond_stage_model, (OrderedDict(), OrderedDict()))
    key = (*_fingerprint(clip), tuple(all_benign), tuple(all_unsafe))
    space_key = (*key, tuple(concepts))
    if space_key in spaces_kept:
        spaces_kept.move_to_end(space_key)
        return spaces_kept[space_key]
    if key not in anchors_kept:
        bar = comfy.utils.ProgressBar(len(all_benign) + len(all_unsafe))

        def encode_and_tell(phrase: str) -> Encoding:
            bar.update(1)
            return encode_neutral(clip, phrase)

        _remember(anchors_kept, key, encode_anchors(all_benign, all_unsafe, encode_and_tell), _KEPT_ANCHORS)
    anchors_kept.move_to_end(key)
    space = concept_space(anchors_kept[key], benign, unsafe, concepts, lambda phrase: encode_neutral(clip, phrase))
    _remember(spaces_kept, space_key, space, _KEPT_SPACES)
    return space


def _remember(kept: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
