"""The frame of every detector: pictures in, looks out, and no picture left unjudged.

A picture that can't be looked at counts as found, and the look says why: one bad picture never breaks a run.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from safelight.detect.look import Look, failed
from safelight.detect.run_predictions import RunPredictions

log = logging.getLogger(__name__)

AT_ONCE = 8  # pictures
Progress = Callable[[int], None]  # told how many pictures were looked at; may raise to interrupt


class Detector(ABC):
    """Looks at pictures. name: for the artist. conditionings: a detector that looks at a sampler's run as well asks for
    the predictions under these, by name; CONDITIONING, as nodes pass it.
    """

    name: str
    conditionings: Mapping[str, Any] = MappingProxyType({})

    def look(
        self, pictures: torch.Tensor, on_progress: Progress | None = None, run: RunPredictions | None = None
    ) -> list[Look]:
        """One look for each picture. pictures: IMAGE [B, H, W, C] in [0, 1], of which the first three channels count.
        run: of the sampler that makes them, where there is one.

        Raises ValueError for what is no batch of pictures.
        """
        if not isinstance(pictures, torch.Tensor) or pictures.ndim != 4 or pictures.shape[-1] < 3:
            shape = list(pictures.shape) if isinstance(pictures, torch.Tensor) else type(pictures).__name__
            raise ValueError(
                f"images: expected pictures [batch, height, width, 3], got {shape}. Link an IMAGE, as VAE Decode gives "
                "it."
            )
        if not len(pictures):
            raise ValueError("images: expected a picture, got a batch of none. Link another one.")
        looks: list[Look] = []
        for batch in pictures[..., :3].float().cpu().split(AT_ONCE):
            looks += self._guarded(batch)
            if on_progress is not None:
                on_progress(len(batch))
        return looks

    @abstractmethod
    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        """pictures: finite, [B, H, W, 3] in [0, 1] on the CPU."""

    def _guarded(self, batch: torch.Tensor) -> list[Look]:
        """A batch together; where that fails, or not all of it is finite, picture by picture."""
        if torch.isfinite(batch).all():
            try:
                return self._checked(batch)
            except Exception as error:  # of a model or a package of others
                if len(batch) == 1:
                    log.warning("%s: a picture could not be looked at and counts as found.", self.name, exc_info=error)
                    return [failed(f"{self.name} could not look at the picture ({error}), so it counts as found")]
        elif len(batch) == 1:
            return [failed("the picture holds values that are no numbers (NaN), so it counts as found")]
        return [look for picture in batch for look in self._guarded(picture[None])]

    def _checked(self, batch: torch.Tensor) -> list[Look]:
        looks = list(self._look(batch.clamp(0.0, 1.0)))
        if len(looks) != len(batch):
            raise RuntimeError(f"{self.name}: expected {len(batch)} looks, got {len(looks)}.")
        return looks
