"""Whether a picture heads for a concept, by the predictions of the model that makes it.

Concept Removal Guidance (arXiv 2606.29801) takes b = |e_c - e_0|^2 - |e_c - e_n|^2 as the evidence for a concept in a
step's prediction: e_c is the prediction under the prompt, e_0 under no text, e_n under the concept's text. Our algebra:
with D = e_n - e_0 that is b = (2 p - 1) |D|^2 and

    p = <e_c - e_0, D> / |D|^2

p is how far the prompt goes in the concept's direction: 1 for the concept itself, 0 for what has nothing to do with it.
Noise, velocity and clean prediction differ, at one x and sigma, by an offset that all texts share and a factor; both
cancel, so p is the same in all of them. In the first steps |D| is next to nothing and p is noise.

Ours as well: where the prompt changes more than the concept, |e_c - e_0| > |D|, its square is the denominator. Without
that p of harmless prompts has a long tail, as the concept's text changes little in a picture that is settled already.
One text for each concept; and the threshold, which comes from p of harmless prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from safelight.detect.detector import Detector, Progress
from safelight.detect.look import Finding, Look, best, failed
from safelight.detect.run_predictions import RunPredictions

DEFAULT_FALSE_ALARMS = 0.1  # of a look at a harmless picture
EARLIEST = 0.25  # progress; before it p says nothing
_LEAST_DEVIATION = 1e-3


def presence(cond: torch.Tensor, uncond: torch.Tensor, concept: torch.Tensor) -> torch.Tensor:
    """p of each picture in [-1, 1], [B]; NaN where the concept's text changes nothing. Predictions: [B, C, ...]."""
    towards, along = ((each - uncond).float().flatten(1) for each in (cond, concept))
    whole = torch.maximum(towards.square().sum(1), along.square().sum(1))
    return torch.where(along.any(1), (towards * along).sum(1) / whole, torch.nan)


@dataclass(frozen=True)
class Calibration:
    """p of harmless prompts. progress: where they were looked at, upward. values: [places, prompts, concepts].

    Raises ValueError, naming the input, for values that are not finite, or for too few prompts.
    """

    progress: Sequence[float]
    values: torch.Tensor

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.values).all()):
            raise ValueError(
                "concepts: expected texts that change what the model predicts, got one that changes nothing, or "
                "predictions that are no numbers. Use other texts, or the text encoder (CLIP) of this model."
            )
        if self.values.shape[1] < 2:
            raise ValueError(f"clip: expected at least 2 harmless prompts, got {self.values.shape[1]}.")

    def limits(self, false_alarms: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(threshold, deviation) of p, each [places, concepts].

        A threshold is so many deviations over the mean, the same number for all, that a look finds a concept (any of
        them) in `false_alarms` of the harmless pictures. n prompts can't tell of a rate under 1 / (n + 1), and what
        they tell is rough: .1 of 32 prompts means .04 to .17, four times in five.
        Raises ValueError for a rate that is not over 0 and under 1.
        """
        if not 0.0 < false_alarms < 1.0:  # true for NaN too
            raise ValueError(
                f"false_alarms: expected a number over 0 and under 1, got {false_alarms}. Give one, such as "
                f"{DEFAULT_FALSE_ALARMS}."
            )
        values = self.values.double()
        mean, deviation = values.mean(1), values.std(1).clamp_min(_LEAST_DEVIATION)
        worst = ((values - mean[:, None]) / deviation[:, None]).amax(2)
        prompts = values.shape[1]
        place = ((prompts + 1) * (1.0 - false_alarms) - 1.0) / (prompts - 1)  # the quantile that is right on average
        return mean + worst.flatten().quantile(min(max(place, 0.0), 1.0)) * deviation, deviation


class ModelPresence(Detector):
    """texts: the concepts, by the names of their conditionings. conditionings: those, and the one of NO_TEXT.

    Raises ValueError, naming the input, for a rate of false alarms that is none.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        conditionings: Mapping[str, Any],
        calibration: Calibration,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
    ) -> None:
        self.name = f"the model's own predictions ({', '.join(texts.values())})"
        self.conditionings = conditionings
        self._texts, self._progress = texts, calibration.progress
        self._thresholds, self._deviations = calibration.limits(false_alarms)

    def look(
        self, pictures: torch.Tensor, on_progress: Progress | None = None, run: RunPredictions | None = None
    ) -> list[Look]:
        """Of a video every frame gets the look at the whole.

        Raises ValueError without a run: finished pictures are not looked at.
        """
        if run is None:
            raise ValueError(
                "detector: expected one that looks at pictures, got Safelight Model Presence, which looks at a "
                "sampler's run. Link it to Safelight KSampler, and another detector here."
            )
        looks = self._looks(run)
        frames = len(pictures) // len(looks)
        if on_progress is not None:
            on_progress(len(pictures))
        return [look for look in looks for _ in range(frames)]

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        return self.look(pictures)

    def _looks(self, run: RunPredictions) -> list[Look]:
        """One for each picture of the run. A number that is none counts as found."""
        if run.progress < EARLIEST:
            too_early = "the run has too few steps for its predictions to tell what it draws, so it counts as found"
            return [failed(too_early) if run.last else Look(0.0)] * len(run.cond)
        presences = torch.stack([presence(run.cond, run.uncond, run.concepts[name]) for name in self._texts], dim=1)
        thresholds, deviations = (self._at(run.progress, each) for each in (self._thresholds, self._deviations))
        scores = ((presences.double().cpu() - thresholds) / deviations).sigmoid()
        return [self._judged(row) for row in scores]

    def _judged(self, scores: torch.Tensor) -> Look:
        if not bool(torch.isfinite(scores).all()):
            return failed("the model's predictions are no numbers, so the picture counts as found")
        return best([Finding(text, score) for text, score in zip(self._texts.values(), scores.tolist(), strict=True)])

    def _at(self, progress: float, values: torch.Tensor) -> torch.Tensor:
        """values: [places, concepts]; between two places straight from one to the other, and level beyond the ends."""
        for (i, low), (j, high) in pairwise(enumerate(self._progress)):
            if progress <= high:
                share = max(0.0, (progress - low) / (high - low))
                return values[i] + share * (values[j] - values[i])
        return values[-1]
