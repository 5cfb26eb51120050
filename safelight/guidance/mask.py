"""The artist's mask: where the safe prompt may steer."""

from __future__ import annotations

from typing import Any

import torch

from safelight.guidance.blend import LEAST_WEIGHT


def read_mask(mask: Any) -> torch.Tensor | None:
    """A MASK as [N, H, W] in [0, 1]; None where it is 1 everywhere. Raises ValueError for one that guards nothing."""
    if not isinstance(mask, torch.Tensor) or mask.ndim < 2 or mask.numel() == 0:
        raise ValueError(f"mask: expected a MASK, got {type(mask).__name__}. Connect a mask or leave it empty.")
    mask = mask.reshape(-1, mask.shape[-2], mask.shape[-1]).float()
    if not bool(torch.isfinite(mask).all()):
        raise ValueError(
            "mask: expected numbers from 0 to 1, got values that are not numbers. Connect another mask or leave it "
            "empty."
        )
    mask = mask.clamp(0.0, 1.0)
    if not bool((mask.flatten(1).amax(dim=1) >= LEAST_WEIGHT).all()):
        raise ValueError(
            "mask: expected some painted area, got an empty mask or one too faint to act, so nothing would be guarded. "
            "Paint it, or set safety to 0."
        )
    return None if bool((mask == 1.0).all()) else mask


def fit_mask(mask: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`mask` [N, H, W] for the latents x [B, C, (frames,) h, w], one value per latent cell, broadcastable against x.

    A cell gets the mean of the mask over it, so that no thin stroke falls between cells. One mask holds for the whole
    batch and all frames; several go to the pictures of the batch in turn, or, for a single video, to its frames.
    """
    if x.ndim not in (4, 5):
        raise ValueError(
            f"mask: expected latents with a picture plane, got {x.ndim} dimensions. This model takes no mask; unlink "
            "it."
        )
    mask = mask.to(x.device)
    if x.ndim == 5 and x.shape[0] == 1 and mask.shape[0] > 1:
        frames, height, width = x.shape[2:]
        return torch.nn.functional.adaptive_avg_pool3d(mask[None, None], (frames, height, width)).to(x.dtype)
    height, width = x.shape[-2:]
    cells = torch.nn.functional.adaptive_avg_pool2d(mask[:, None], (height, width))
    if cells.shape[0] > 1:
        cells = cells[torch.arange(x.shape[0], device=x.device) % cells.shape[0]]
    return (cells if x.ndim == 4 else cells.unsqueeze(2)).to(x.dtype)
