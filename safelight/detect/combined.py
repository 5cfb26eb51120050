"""Several detectors as one, with the risk of the prompt's text among them.

The main paper has two supporting, modular detectors of inappropriate inputs; how they are combined is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.detect.detector import Detector, Progress
from safelight.detect.look import Finding, Look
from safelight.detect.run_predictions import RunPredictions

ANY, ALL, MEAN, AT_LEAST = WAYS = ("any", "all", "mean", "at least n")
TEXT = "the text"


class TextRisk(Detector):
    """The risk of the prompt, the same for every picture. name: of what makes it risky, where that is known."""

    def __init__(self, risk: float, name: str = TEXT) -> None:
        if not 0.0 <= risk <= 1.0:  # false for NaN too
            raise ValueError(f"risk: expected a number from 0 to 1, got {risk}. Link the risk of Safelight Prompt.")
        self._risk, self.name = float(risk), name

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        return [Look(self._risk, (Finding(self.name, self._risk),))] * len(pictures)


class Combined(Detector):
    """way: any: one detector that finds something is enough; all: every one has to; mean: of the scores; at least n:
    so many have to.

    Raises ValueError, naming the input, where there is no detector, or fewer than n.
    """

    def __init__(self, detectors: Sequence[Detector], way: str = ANY, n: int = 2) -> None:
        if way not in WAYS:
            raise ValueError(f"way: unknown way {way!r}. Use one of {', '.join(WAYS)}.")
        if not detectors:
            raise ValueError("detector_1: expected at least one detector, got none. Link one.")
        if way == AT_LEAST and not 1 <= n <= len(detectors):
            raise ValueError(
                f"n: expected a number from 1 to {len(detectors)}, as many detectors are linked, got {n}. Link more "
                "detectors, or lower it."
            )
        self._detectors, self._way, self._n = list(detectors), way, n
        self.conditionings = {name: one for detector in detectors for name, one in detector.conditionings.items()}
        how = f"at least {n}" if way == AT_LEAST else way
        self.name = f"{how} of {', '.join(detector.name for detector in detectors)}"

    def look(
        self, pictures: torch.Tensor, on_progress: Progress | None = None, run: RunPredictions | None = None
    ) -> list[Look]:
        """Every detector looks by itself, so that a picture fails for one of them alone."""
        *others, last = self._detectors

        def only_interrupted(_: int) -> None:
            if on_progress is not None:
                on_progress(0)

        each = [*(one.look(pictures, only_interrupted, run) for one in others), last.look(pictures, on_progress, run)]
        return [self._together(looks) for looks in zip(*each, strict=True)]

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        return self.look(pictures)

    def _together(self, looks: Sequence[Look]) -> Look:
        scores = sorted((look.score for look in looks), reverse=True)
        place = {ANY: 0, ALL: len(scores) - 1, AT_LEAST: self._n - 1}
        score = sum(scores) / len(scores) if self._way == MEAN else scores[place[self._way]]
        findings = sorted((finding for look in looks for finding in look.findings), key=lambda one: -one.score)
        return Look(score, tuple(findings), "; ".join(look.failed for look in looks if look.failed))
