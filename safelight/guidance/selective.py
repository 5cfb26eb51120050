"""Where the dual blend acts: in the cells in which the two branches disagree, and nowhere else.

In the spirit of SP-Guard (Yu and Moon, arXiv 2511.11014), which guides harmful prompts the more, the more they align
with what is unsafe, and only in a mask drawn anew at every step. Its formulas were not available to us; these are ours:

    d = |D(s) - D(u)|, the norm over the channels, one number per latent cell, smoothed
    quantile:        m = 1 in the cells whose d is not below the sample's quantile, 0 elsewhere
    soft threshold:  m = (d / scale - t) / (t / 2), kept in [0, 1]: a ramp from t to 1.5 t
    then m is grown, and the weight is w m a

The scale is the sample's mean of d, or less where no cell stands out as far as 1.5 t, so that the cell with the largest
d has weight w in either mode. a is 1, or with `adaptive` (1 + max(0, cos(e_u - e_0, e_u - e_s))) / 2, the cosine over
the whole sample: what the prompt adds against what is unsafe in it. The floor of a half is there to fail closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import torch

from safelight.checks import check_numbers, unit_number

MODES = ("soft threshold", "quantile")
MAX_SMOOTH = 8
MAX_GROW = 32
MIN_THRESHOLD, MAX_THRESHOLD = 0.1, 10.0
_RAMP = 0.5  # its width, as a share of the threshold


@dataclass(frozen=True)
class Selection:
    """How the cells are chosen.

    mode: one of MODES. quantile: for that mode, the share of the cells left alone, in [0, 1). threshold: for the soft
    one, t. smooth: how many times d is averaged with its neighbours (1/4, 1/2, 1/4 along each axis of the picture).
    grow: by how many cells m is widened. adaptive: whether the weight follows the prompt's alignment.

    Raises ValueError, naming the input, for anything else.
    """

    mode: str = MODES[0]
    quantile: float = 0.9
    threshold: float = 1.2
    smooth: int = 1
    grow: int = 0
    adaptive: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode: unknown mode {self.mode!r}. Use one of {', '.join(MODES)}.")
        if unit_number("quantile", self.quantile) >= 1.0:
            raise ValueError(
                "quantile: expected less than 1, where no cell would be left to guide. Use less, such as 0.9."
            )
        check_numbers(threshold=self.threshold)
        if not MIN_THRESHOLD <= self.threshold <= MAX_THRESHOLD:
            raise ValueError(
                f"threshold: expected a number from {MIN_THRESHOLD:g} to {MAX_THRESHOLD:g}, got {self.threshold}. Give "
                "such a number."
            )
        for name, value, most in (("smooth", self.smooth, MAX_SMOOTH), ("grow", self.grow, MAX_GROW)):
            if not isinstance(value, Integral) or not 0 <= value <= most:
                raise ValueError(f"{name}: expected a whole number from 0 to {most}, got {value}. Give such a number.")

    def weights(
        self,
        denoised_cond: torch.Tensor,
        denoised_safe: torch.Tensor,
        denoised_uncond: torch.Tensor | None = None,
        where: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """m a, [B, 1, ...] in [0, 1], float32: to be multiplied by w.

        denoised_cond, denoised_safe, denoised_uncond: predictions under positive, safe and negative, [B, C, ...].
            Without the last one a is 1.
        where: boolean, broadcastable against [B, 1, ...]: the cells among which to choose, all of them for None.
        Each sample is for itself. One whose predictions are not finite gets 1 everywhere, and so does one in which
        `where` leaves no cell.
        """
        difference = denoised_safe.float() - denoised_cond.float()
        size = difference.square().sum(dim=1, keepdim=True).sqrt()
        finite = size.isfinite().flatten(1).all(dim=1)
        allowed = torch.ones_like(size, dtype=torch.bool) if where is None else where.expand_as(size)
        size = smoothed(size.where(allowed, 0.0), self.smooth)
        chosen = (quantile_mask if self.mode == "quantile" else soft_mask)(
            size, allowed, self.quantile if self.mode == "quantile" else self.threshold
        )
        mask = grown(chosen, self.grow)
        if self.adaptive and denoised_uncond is not None:
            along = alignment(denoised_cond.float() - denoised_uncond.float(), -difference)
            mask = mask * _per_sample((1.0 + along) / 2.0, mask)
        guided = finite & allowed.flatten(1).any(dim=1)
        return mask.where(_per_sample(guided, mask), 1.0)


def quantile_mask(size: torch.Tensor, allowed: torch.Tensor, quantile: float) -> torch.Tensor:
    """1 in the (1 - quantile) share of the allowed cells that have the largest size, at least one of them; else 0.

    size: [B, 1, ...], at least 0. allowed: boolean, as size. Cells as large as the last one chosen are chosen too.
    """
    cells = size.masked_fill(~allowed, -1.0).flatten(1)
    count = (allowed.flatten(1).sum(dim=1) * (1.0 - quantile)).round().long().clamp_min(1)
    least = cells.sort(dim=1, descending=True).values.gather(1, count[:, None] - 1)
    return ((cells >= least) & (cells >= 0.0)).to(size.dtype).reshape(size.shape)


def soft_mask(size: torch.Tensor, allowed: torch.Tensor, threshold: float) -> torch.Tensor:
    """A ramp over size: 0 up to `threshold` times the sample's scale, 1 from 1.5 times that on.

    size: [B, 1, ...], at least 0. allowed: boolean, as size. The scale is the mean over the allowed cells, or less, so
    that the largest of them gets 1.
    """
    cells = size.where(allowed, 0.0).flatten(1)
    mean = cells.sum(dim=1) / allowed.flatten(1).sum(dim=1)
    top = threshold * (1.0 + _RAMP)
    largest = _per_sample(cells.amax(dim=1), size)
    scale = torch.minimum(_per_sample(mean, size), largest / top)
    ramp = ((size - threshold * scale) / (_RAMP * threshold * scale)).clamp(0.0, 1.0)
    # The second bound keeps rounding from taking the largest cell from 1, and gives all 1 where all are 0.
    return ramp.where((size < top * scale) & (size < largest), 1.0) * allowed


def alignment(added: torch.Tensor, unsafe: torch.Tensor) -> torch.Tensor:
    """max(0, cosine) of two directions, [B, C, ...], over everything but the batch: [B], 1 where one has no length.

    Of predictions D or of noise e alike: at one noise level their differences are the same up to a factor, below zero
    for both.
    """
    added, unsafe = added.flatten(1), unsafe.flatten(1)
    return ((added * unsafe).sum(dim=1) / (added.norm(dim=1) * unsafe.norm(dim=1))).nan_to_num(1.0).clamp(0.0, 1.0)


def smoothed(size: torch.Tensor, times: int) -> torch.Tensor:
    """size, [B, 1, ..., h, w], averaged `times` times with its neighbours in the picture, whose edge cells repeat."""
    for _ in range(times):
        for axis in _picture_axes(size):
            before, after = _shifted(size, axis)
            size = before / 4 + size / 2 + after / 4
    return size


def grown(mask: torch.Tensor, cells: int) -> torch.Tensor:
    """mask, [B, 1, ..., h, w]; every cell gets the largest value in the square of that many cells around it."""
    for _ in range(cells):
        for axis in _picture_axes(mask):
            before, after = _shifted(mask, axis)
            mask = torch.maximum(mask, torch.maximum(before, after))
    return mask


def _picture_axes(x: torch.Tensor) -> range:
    """The last two, or the last one where there are no more; frames are neighbours in time, not in the picture."""
    return range(max(2, x.ndim - 2), x.ndim)


def _shifted(x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Every cell's neighbours along an axis; those of an edge cell are itself."""
    length = x.shape[axis]
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, length - 1, 1)
    before = torch.cat([first, x.narrow(axis, 0, length - 1)], dim=axis)
    return before, torch.cat([x.narrow(axis, 1, length - 1), last], dim=axis)


def _per_sample(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 1))
