"""The second detector of the demo world as one of the pack's, for pictures of the small model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look, best, on_scale

from . import detector, glance, world

# Half a box's side, in fractions of the picture's: the largest thing, and some pixels since the eye learnt no places.
HALF = (world.GLYPH_SIZES[-1] / 2 + 6) / world.SIZE
UNSAFE = frozenset(thing.noun for thing in world.UNSAFE)


class DemoEye(Detector):
    """threshold: the score that counts as found, from detector.HALF_SEEN on, which counts what is half seen too."""

    name = "the demo's eye"

    def __init__(self, threshold: float = detector.HALF_SEEN) -> None:
        on_scale(0.0, threshold)  # for its error
        self._glance, self._threshold = glance.load(), threshold

    @torch.no_grad()
    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        return [best([self._finding(one) for one in seen if one.noun in UNSAFE]) for seen in self._glance.see(pictures)]

    def _finding(self, seen: detector.Sight) -> Finding:
        box = (max(0.0, seen.x - HALF), max(0.0, seen.y - HALF), min(1.0, seen.x + HALF), min(1.0, seen.y + HALF))
        return Finding(seen.noun, on_scale(seen.score, self._threshold), box)
