"""The dual blend for the frames of a strip, which lie one after the other in the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.guidance.dual import DualBlend


class FramesBlend(DualBlend):
    """The dual blend for frames with a weight each, of which the largest is the step's.

    weights: of the frames in the next call. pictures: in a frame.
    """

    weights: Sequence[float] = (0.0,)
    pictures = 1

    def fitted_mask(self, x: torch.Tensor) -> torch.Tensor | None:
        """The artist's mask, times each frame's share of the largest weight."""
        mask = super().fitted_mask(x[: self.pictures])
        if mask is not None and mask.shape[0] > 1:
            mask = torch.cat([mask] * len(self.weights))
        if len(set(self.weights)) == 1:
            return mask
        shares = torch.tensor([weight / max(self.weights) for weight in self.weights], dtype=x.dtype, device=x.device)
        share = shares.repeat_interleave(self.pictures).reshape(-1, *[1] * (x.ndim - 1))
        return share if mask is None else share * mask
