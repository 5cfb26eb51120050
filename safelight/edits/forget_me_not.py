"""Forget-Me-Not (arXiv 2303.17591): the picture learns not to look at the concept's words.

The loss is the length (not squared, as released) of all cross-attention probabilities at the concept's tokens, over all
layers, heads and cells. Nothing says where the attention goes instead, and the paper preserves nothing; here a second
term holds the predictions for kept texts (sdd.distance).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def probabilities(q: torch.Tensor, k: torch.Tensor, heads: int, places: torch.Tensor) -> torch.Tensor:
    """The attention [B, heads, cells, places] on the tokens at these places.

    q: [B, cells, heads * d]; k: [B, tokens, heads * d]; places: whole numbers [places], of tokens.
    """
    q, k = (each.unflatten(-1, (heads, -1)).transpose(1, 2).float() for each in (q, k))
    return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)[..., places]


def attention(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """The loss of the layers' probabilities, of any shapes."""
    return torch.cat([layer.flatten() for layer in layers]).norm()
