"""Encodes texts with the host's text encoder and describes their tokens for the guidance code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from safelight.engine.host import CLIPTextEncode
from safelight.engine.token_layout import Tokens, describe, read_tokens, token_pairs, unweighted
from safelight.text.clauses import words_of
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import Encoding
from safelight.text.english import SMALL

if TYPE_CHECKING:
    from comfy.sd import CLIP


def check_clip(clip: CLIP | None) -> None:
    """Raises ValueError where there is no text encoder."""
    if clip is None:
        raise ValueError(
            "clip: expected a text encoder, got none; the checkpoint may not contain one. Link a Load CLIP."
        )


def word_test(clip: CLIP) -> Callable[[str], bool] | None:
    """Whether the encoder knows a word, where its tokenizer says so (`safelight_knows`); None where it reads any."""
    return getattr(clip.tokenizer, "safelight_knows", None)


def own_anchors(clip: CLIP) -> Mapping[str, Sequence[str]] | None:
    """The phrases that the encoder's tokenizer brings (`safelight_anchors`): {"benign": [...], "unsafe": [...]}. An
    encoder of another language needs them."""
    return getattr(clip.tokenizer, "safelight_anchors", None)


def everyday_phrases(clip: CLIP, shipped: Sequence[str]) -> list[str]:
    """The benign ones that the encoder brings, else those of the pack."""
    own = own_anchors(clip)
    return list(shipped if own is None else own["benign"])


def unknown_words(clip: CLIP, text: str) -> list[str]:
    """The words that the encoder reads as nothing, as far as it tells."""
    knows = word_test(clip)
    if knows is None:
        return []
    return list(dict.fromkeys(word.text for word in words_of(text) if word.is_word and not knows(word.text)))


def check_known(clip: CLIP, text: str, input_name: str) -> None:
    """Raises ValueError for a text with words that mean something, of which the encoder knows none: it would read
    nothing there, or an article alone."""
    unknown = unknown_words(clip, text)
    if unknown and {word.text for word in words_of(text) if word.is_word and word.text.lower() not in SMALL} <= {
        *unknown
    }:
        raise ValueError(
            f"{input_name}: expected words that the text encoder knows, got {text!r}, of which it knows none. Use "
            "other words, or another text encoder."
        )


def known_phrases(clip: CLIP, phrases: Sequence[str], input_name: str) -> list[str]:
    """Those of which the encoder knows a word. Raises ValueError, naming the input, where there are none."""
    known = []
    for phrase in phrases:
        with suppress(ValueError):
            check_known(clip, phrase, input_name)
            known.append(phrase)
    if not known:
        check_known(clip, ", ".join(phrases), input_name)
    return known


def encode_prompt(clip: CLIP, text: str) -> Conditioning:
    """The CONDITIONING that the host's own CLIPTextEncode makes of the text."""
    node = CLIPTextEncode()
    outcome = getattr(node, node.FUNCTION)(clip=clip, text=text)
    return getattr(outcome, "result", outcome)[0]  # newer hosts' nodes may wrap their outputs


def encode_tokens(clip: CLIP, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor | None]:
    states, pooled = clip.encode_from_tokens(token_pairs(tokens), return_pooled=True)
    return states, pooled


def encode_entries(clip: CLIP, tokens: Tokens) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """States and pooled output of each entry of the CONDITIONING; a CLIP with scheduled hooks gives several."""
    if not hasattr(clip, "encode_from_tokens_scheduled"):
        return [encode_tokens(clip, tokens)]
    entries = clip.encode_from_tokens_scheduled(token_pairs(tokens))
    return [(states, extra.get("pooled_output")) for states, extra, *_ in entries]


def encode_neutral(clip: CLIP, text: str) -> Encoding:
    """The text without token weights, in one call of the encoder."""
    tokens = unweighted(read_tokens(clip, text))
    return describe(clip, tokens, *encode_tokens(clip, tokens))
