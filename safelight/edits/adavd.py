"""AdaVD, adaptive value decomposition (CVPR 2025, arXiv 2412.06143): concepts out of what cross-attention hands on.

In a cross-attention the keys of the text say where a word acts, and its values what it brings. With v_t, the value of
the concept's last word, every token's value v loses the part that lies along it:

    v' = v - f(cos(v, v_t)) <v, v_t> / |v_t|^2 v_t

and the layout, which the keys decide, stays. The start token, which carries no word, is left alone. f is 1 or, in the
adaptive form, c sigmoid(a (cos - b)) with the released a 100, b .93 and c 2, which leaves values alone that have little
to do with the concept. Several concepts are made orthogonal one after another (Gram-Schmidt), each with its own f.
"""

from __future__ import annotations

import torch

from safelight.edits.safe_adapter import CHUNK

STEEPNESS, MIDDLE, MOST = 100.0, 0.93, 2.0  # a, b and c
_LEAST = 1e-4  # of a direction's length beyond the ones before it, as a share of its own: less is rounding


def basis(values: torch.Tensor) -> torch.Tensor:
    """Orthonormal directions of the concepts' values, both [K, V]; zeros for one that lies in the span of those before
    it. Called in every layer at every step, so nothing here waits for the device."""
    directions = torch.zeros_like(values)
    for place, value in enumerate(values):
        rest = value
        for _ in range(2):  # twice, for rounding
            rest = rest - (directions @ rest) @ directions
        new = rest.norm() > _LEAST * value.norm()
        directions[place] = torch.where(new, rest / rest.norm(), torch.zeros_like(rest))
    return directions


def without(values: torch.Tensor, directions: torch.Tensor, strength: float, adaptive: bool) -> torch.Tensor:
    """Values [..., L, V] of a text's tokens, less the directions [K, V] of `basis`: as `values` in shape and dtype.

    In a sequence of whole chunks the first of each is a start token, else the first of all. In float32 at least.
    """
    precise = values.to(torch.promote_types(values.dtype, torch.float32))
    along = precise @ directions.to(precise).mT  # [..., L, K]
    if adaptive:
        cosine = along / precise.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        along = MOST * torch.sigmoid(STEEPNESS * (cosine - MIDDLE)) * along
    length = values.shape[-2]
    start = torch.arange(length, device=values.device) % (CHUNK if length % CHUNK == 0 else length) == 0
    along = along.masked_fill(start[:, None], 0.0)
    return (precise - strength * (along @ directions.to(precise))).to(values.dtype)
