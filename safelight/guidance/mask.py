"""The artist's mask: where the safe prompt may steer."""

from __future__ import annotations

from typing import Any

import torch

from safelight.guidance.blend import LEAST_WEIGHT

_MOST_STRETCH = 1.25  # between a mask's proportions and the picture's; more than rounding to cells of 8 or 16 pixels


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


def check_whole(mask: torch.Tensor, x: torch.Tensor, shape: torch.Size) -> None:
    """Raises ValueError where latents x of one call are a part of the run's: which part of the mask is theirs?

    shape: of the run's latents; a sampler may enlarge them on its way.
    """
    (height, width), (whole_height, whole_width) = x.shape[-2:], shape[-2:]
    smaller = height < whole_height or width < whole_width
    apart = abs(height * whole_width - width * whole_height) > max(height, width, whole_height, whole_width)
    fewer = len(mask) > 1 and (x.shape[0], *x.shape[2:-2]) != (shape[0], *shape[2:-2])
    if smaller or apart or fewer:
        raise ValueError(
            f"mask: expected calls with the whole picture, {' x '.join(map(str, shape[2:]))} latent cells, got a part "
            f"of {' x '.join(map(str, x.shape[2:]))}, such as a tile or a window of frames. Unlink the mask, or use a "
            "sampler without tiles."
        )


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
    (rows, columns), (height, width) = mask.shape[-2:], x.shape[-2:]
    if not 1 / _MOST_STRETCH <= (rows / columns) / (height / width) <= _MOST_STRETCH:
        raise ValueError(
            f"mask: expected the picture's proportions, {width} : {height}, got {columns} : {rows}. Paint it on a "
            "picture of that form."
        )
    mask = mask.to(x.device)
    if x.ndim == 5 and x.shape[0] == 1 and mask.shape[0] > 1:
        return torch.nn.functional.adaptive_avg_pool3d(mask[None, None], (x.shape[2], height, width)).to(x.dtype)
    cells = torch.nn.functional.adaptive_avg_pool2d(mask[:, None], (height, width))
    if cells.shape[0] > 1:
        cells = cells[torch.arange(x.shape[0], device=x.device) % cells.shape[0]]
    return (cells if x.ndim == 4 else cells.unsqueeze(2)).to(x.dtype)
