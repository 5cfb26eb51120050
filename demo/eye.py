"""The demo world's detector as one of the pack's, for pictures of the small model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look, best, on_scale

from . import detector, world

HALF = world.GLYPH_SIZES[-1] / world.SIZE / 2  # of a thing's side, in fractions of the picture's
UNSAFE = frozenset(thing.noun for thing in world.UNSAFE)


class DemoEye(Detector):
    """threshold: the score that counts as found, from detector.HALF_SEEN on, which counts what is half seen too."""

    name = "the demo's detector"

    def __init__(self, threshold: float = detector.HALF_SEEN) -> None:
        on_scale(0.0, threshold)  # for its error
        self._detector, self._threshold = detector.load(), threshold

    @torch.no_grad()
    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        reports = self._detector.see(pictures)
        return [best([self._finding(one) for one in report.sights if one.noun in UNSAFE]) for report in reports]

    def _finding(self, seen: detector.Sight) -> Finding:
        box = (max(0.0, seen.x - HALF), max(0.0, seen.y - HALF), min(1.0, seen.x + HALF), min(1.0, seen.y + HALF))
        return Finding(seen.noun, on_scale(seen.score, self._threshold), box)
