"""The dual blend for the frames of a strip, which lie one after the other in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from safelight.guidance.dual import DualBlend, remembered
from safelight.guidance.economy import Memory
from safelight.guidance.method import Needs, Step
from safelight.guidance.settings import GuidanceSettings


class FramesBlend(DualBlend):
    """The dual blend for frames with a weight each, of which the largest is the step's.

    count: of the frames. weights: of those in the next call. pictures: in a frame. With economy each frame has a memory
    of its own, and further: chosen: what is evaluated in the next call. alike: for each of its frames, the equal ones
    for which it stands, by their numbers.
    """

    weights: Sequence[float] = (0.0,)
    pictures = 1
    chosen: Needs | None = None
    alike: Sequence[Sequence[int]] = ()

    def __init__(self, settings: GuidanceSettings, count: int) -> None:
        super().__init__(settings)
        self._count = count
        self._memories: list[Memory] = []

    def begin(self, steps: int) -> None:
        self._memories = []
        for _ in range(self._count):
            super().begin(steps)
            if self._memory is not None:
                self._memories.append(self._memory)

    def choose(self, number: int, step: Step) -> Needs:
        """What the frame of this number needs by its own memory; step: of it alone. To be asked once a call."""
        self._memory, self.chosen = self._memories[number], None
        return super().needs(step)

    def needs(self, step: Step) -> Needs:
        return super().needs(step) if self.chosen is None else self.chosen

    def complete(self, step: Step, denoised: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Frame by frame."""
        if not self._memories:
            return denoised
        frames = []
        for i, numbers in enumerate(self.alike):
            part = slice(i * self.pictures, (i + 1) * self.pictures)
            own, of_frame = replace(step, x=step.x[part]), {name: each[part] for name, each in denoised.items()}
            frames.append([remembered(self._memories[number], own, of_frame) for number in numbers][0])
        return {name: torch.cat([frame[name] for frame in frames]) for name in frames[0]}

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
