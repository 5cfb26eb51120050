"""Encodes texts with the host's text encoder and describes their tokens for the guidance code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from safelight.engine.host import CLIPTextEncode
from safelight.engine.token_layout import Tokens, describe, read_tokens, token_pairs, unweighted
from safelight.text.conditioning import Conditioning
from safelight.text.encoding import Encoding

if TYPE_CHECKING:
    from comfy.sd import CLIP


def check_clip(clip: CLIP | None) -> None:
    """Raises ValueError where there is no text encoder."""
    if clip is None:
        raise ValueError(
            "clip: expected a text encoder, got none; the checkpoint may not contain one. Link a Load CLIP."
        )


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
