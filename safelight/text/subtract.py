"""Concept vector subtraction, c - strength * v: the vector of Ring-A-Bell (arXiv 2310.10012) used as a defence.

Ring-A-Bell's vector has one row per token position, so it fits prompts that are built like its pairs. Prompts of any
length need one vector for all words: ours is the mean difference between concept and neutral phrases, each of them the
mean of its words.
"""

from __future__ import annotations

import torch


def subtract(
    states: torch.Tensor, direction: torch.Tensor, tokens: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """states [B, T, W] less strength [T] times direction [W] at the chosen tokens (boolean [T] or [B, T]).

    Computed in float32 and returned in the dtype of `states`. Other tokens keep their bits.
    """
    moved = states.float() - strength.float()[:, None] * direction.float()
    return torch.where(tokens.expand(states.shape[:2])[..., None], moved.to(states.dtype), states)
