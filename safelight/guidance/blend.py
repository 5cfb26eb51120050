"""The blend of two predictions, exact at both ends."""

from __future__ import annotations

import torch

# The conditionings that take part in a guided run, by name.
POSITIVE, NEGATIVE, SAFE = "positive", "negative", "safe"
# The least weight that counts as guidance: less moves no value of a picture by half of one of its 256 steps, even if
# the two predictions are black and white.
LEAST_WEIGHT = 1 / 512


def blend(denoised_cond: torch.Tensor, denoised_safe: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """(1 - weight) * denoised_cond + weight * denoised_safe.

    denoised_cond, denoised_safe: predictions under the positive and the safe conditioning, [B, C, ...], any number of
        dimensions.
    weight: a number in [0, 1], or a tensor that broadcasts against them, one value per latent cell.
    Exact at the ends: for weight 0 and 1 the very tensor comes back, and a cell of weight 0 or 1 keeps its bits. A
    weight tensor's NaN counts as 1.
    """
    if isinstance(weight, torch.Tensor):
        weight = weight.to(device=denoised_cond.device, dtype=denoised_cond.dtype)
        mixed = (1 - weight) * denoised_cond + weight * denoised_safe
        mixed = torch.where(weight <= 0, denoised_cond, mixed)
        return torch.where(weight < 1, mixed, denoised_safe)
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"safety: expected a weight from 0 to 1, got {weight}. Choose another schedule.")
    if weight == 0.0:
        return denoised_cond
    if weight == 1.0:
        return denoised_safe
    return (1 - weight) * denoised_cond + weight * denoised_safe


def cover(
    denoised_cond: torch.Tensor,
    denoised_safe: torch.Tensor,
    covered_cond: torch.Tensor | None,
    covered_safe: torch.Tensor | None,
    weight: float | torch.Tensor,
) -> torch.Tensor:
    """blend, except that a branch yields where its areas and masks leave a cell uncovered.

    covered_cond, covered_safe: boolean, broadcastable against the predictions; None means everywhere.
    Where only one branch covers a cell its prediction stands, whatever the weight; where neither does, the host's value
    of both (zero) is blended.
    """
    if covered_cond is None and covered_safe is None:
        return blend(denoised_cond, denoised_safe, weight)
    everywhere = torch.ones((), dtype=torch.bool, device=denoised_cond.device)
    covered_cond = everywhere if covered_cond is None else covered_cond
    covered_safe = everywhere if covered_safe is None else covered_safe
    merged = blend(denoised_cond, denoised_safe, weight)
    merged = torch.where(covered_cond & ~covered_safe, denoised_cond, merged)
    return torch.where(covered_safe & ~covered_cond, denoised_safe, merged)
