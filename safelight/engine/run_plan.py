"""The weight of a guidance method at every noise level of one run, decided before the run starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from safelight.engine import host
from safelight.guidance.blend import LEAST_WEIGHT
from safelight.guidance.progress import clamp_start, noise_level_progress, step_progress
from safelight.guidance.settings import GuidanceSettings

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import KSAMPLER


PICTURE_PROGRESS = 0.98  # on the scale of the noise level; what is left is fine grain at most


class RunPlan:
    """The weights of one run by its GuidanceSettings.

    sigmas: the run's noise levels. full_sigmas: those of the whole noise schedule of which the run is a part, where
        known; the axis "steps" and the clamp of the start are measured on it, so every slice gets the same weights.
    step_call_sigmas: the sigmas at which a step begins, one model call each; by default all but the last.
    start_name: the method's own word for the schedule's start, for notes.
    known_progress: the progress at noise levels of this run, as far as it is known already.
    least_sigma: the smallest noise level that the model knows; less is no noise to it.
    Raises ValueError where the schedule would guard nothing in a run that ends in a picture.
    """

    def __init__(
        self,
        settings: GuidanceSettings,
        percent_to_sigma: Callable[[float], float],
        sigmas: Sequence[float],
        full_sigmas: Sequence[float] | None = None,
        step_call_sigmas: Sequence[float] | None = None,
        start_name: str = "context",
        known_progress: dict[float, float] | None = None,
        least_sigma: float = 0.0,
    ) -> None:
        self.settings = settings
        self.percent_to_sigma = percent_to_sigma
        self.sigmas = [float(sigma) for sigma in sigmas]
        self.full_sigmas = self.sigmas if full_sigmas is None else [float(sigma) for sigma in full_sigmas]
        self.step_call_sigmas = self.full_sigmas[:-1] if step_call_sigmas is None else step_call_sigmas
        self.start_name = start_name
        self.least_sigma = least_sigma
        self.notes: list[str] = []
        self._progress = {} if known_progress is None else known_progress
        self.ends_in_picture = self._is_picture(self.sigmas[-1])
        if self._is_picture(self.full_sigmas[-1]):
            step_starts = [self.progress(sigma) for sigma in self.step_call_sigmas]
            self.start_percent, notes = clamp_start(settings.schedule, settings.safety, step_starts, start_name)
            self.notes += notes
        else:
            self.start_percent = settings.schedule.begins(settings.safety)
        least = None if settings.server is None else settings.server.least
        self._least = self._with(least) if least is not None and settings.safety > 0.0 else None
        if not self.ends_in_picture:
            self.notes.append("this run ends with noise left: a stage, not a picture. What finishes it has to guide.")

    def at_safety(self, safety: float) -> RunPlan:
        """The plan of the same run at another place on the slider."""
        return self._with(replace(self.settings, safety=safety))

    def _with(self, settings: GuidanceSettings) -> RunPlan:
        return RunPlan(
            settings,
            self.percent_to_sigma,
            self.sigmas,
            self.full_sigmas,
            self.step_call_sigmas,
            self.start_name,
            self._progress,
            self.least_sigma,
        )

    @property
    def begins(self) -> float:
        """The progress from which on the run is guided."""
        return self.start_percent if self._least is None else min(self.start_percent, self._least.start_percent)

    def _is_picture(self, sigma: float) -> bool:
        """Whether no eye sees the noise that is left at noise level sigma."""
        return sigma <= self.least_sigma or noise_level_progress(sigma, self.percent_to_sigma) >= PICTURE_PROGRESS

    def progress(self, sigma: float) -> float:
        """Progress in [0, 1] at noise level sigma, on the schedule's axis."""
        if sigma not in self._progress:
            steps = self.settings.schedule.axis == "steps"
            self._progress[sigma] = (
                step_progress(sigma, self.full_sigmas) if steps else noise_level_progress(sigma, self.percent_to_sigma)
            )
        return self._progress[sigma]

    def weight(self, sigma: float) -> float:
        """Weight of the method at noise level sigma, in [0, 1]."""
        weight = self.settings.schedule.weight(self.progress(sigma), self.settings.safety, self.start_percent)
        if self._least is not None:
            weight = max(weight, self._least.weight(sigma))
        if 0.0 <= weight < LEAST_WEIGHT:
            return 0.0
        if not 0.0 <= weight <= 1.0:  # false for NaN too
            raise ValueError(
                f"schedule: expected weights from 0 to 1, got {weight} at noise level {sigma:g}. Choose another "
                "schedule."
            )
        return weight

    def constant(self) -> float | None:
        """0 or 1 where every call of the model will have that weight, else None."""
        schedule = self.settings.schedule
        low, high = sorted((self.progress(self.sigmas[0]), self.progress(self.sigmas[-1])))
        heights = [schedule.curve(p) for p in (low, high, *(x for x, _ in schedule.points if low < x < high))]
        if high < self.start_percent or max(heights) < LEAST_WEIGHT:
            return 0.0 if self._least is None else None
        everywhere = self.settings.mask is None and self.settings.selective is None
        full = self.settings.safety == 1.0 and everywhere and min(heights) == 1.0
        return 1.0 if full and low >= self.start_percent else None


def plan_run(
    settings: GuidanceSettings,
    patcher: ModelPatcher,
    sampler: KSAMPLER,
    sigmas: torch.Tensor,
    full_sigmas: torch.Tensor | None = None,
    start_name: str = "context",
) -> RunPlan:
    """The RunPlan of a run of the model in `patcher` by `sampler` over `sigmas`, a part of `full_sigmas`."""
    sampling = patcher.get_model_object("model_sampling")
    whole = (sigmas if full_sigmas is None else full_sigmas).tolist()
    return RunPlan(
        settings,
        sampling.percent_to_sigma,
        sigmas.tolist(),
        whole,
        host.step_call_sigmas(sampler, whole),
        start_name,
        least_sigma=float(getattr(sampling, "sigma_min", 0.0)),
    )
