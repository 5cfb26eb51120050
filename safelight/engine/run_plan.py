"""The weight of the safe branch at every noise level of one run, decided before the run starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from safelight.guidance.progress import guard, noise_level_progress, step_progress
from safelight.engine import host
from nodes.inputs import Guidance


class RunPlan:
    """What a Guidance means for one run.

    sigmas: the run's noise levels. full: those of the whole noise schedule of which the run is a part, where known;
        the axis "steps" and the clamp of the context are measured on it, so that every slice gets the same weights.
    asked: the levels of that at which the sampler calls the model when a step begins, which the guard counts; without
        them all but the last.
    context_called: the method's own word for the context, for notes.
    known: the progress at noise levels of this run, as far as somebody knows it.
    Raises ValueError where the schedule would guard nothing in a run that ends in a picture.
    """

    def __init__(self, guidance: Guidance, percent_to_sigma: Callable[[float], float], sigmas: Sequence[float],
                 full: Sequence[float] | None = None, asked: Sequence[float] | None = None,
                 context_called: str = "context", known: dict[float, float] | None = None) -> None:  # fmt: skip
        self.guidance = guidance
        self.percent_to_sigma = percent_to_sigma
        self.sigmas = [float(sigma) for sigma in sigmas]
        self.full = self.sigmas if full is None else [float(sigma) for sigma in full]
        self.asked, self.context_called = self.full[:-1] if asked is None else asked, context_called
        self.notes: list[str] = []
        self._progress = {} if known is None else known
        if self.full[-1] <= 0.0:
            starts = [self.progress(sigma) for sigma in self.asked]
            self.context, notes = guard(guidance.schedule, guidance.safety, starts, context_called)
            self.notes += notes
        else:
            self.context = guidance.schedule.begins(guidance.safety)
        if not self.ends_in_picture:
            self.notes.append("this run ends with noise left: a stage, not a picture. What finishes it has to guide.")

    def at(self, safety: float) -> RunPlan:
        """The plan of the same run at another place on the slider."""
        return RunPlan(replace(self.guidance, safety=safety), self.percent_to_sigma, self.sigmas, self.full,
                       self.asked, self.context_called, self._progress)  # fmt: skip

    @property
    def ends_in_picture(self) -> bool:
        return self.sigmas[-1] <= 0.0

    def progress(self, sigma: float) -> float:
        """Progress in [0, 1] at noise level sigma, on the schedule's axis."""
        if sigma not in self._progress:
            steps = self.guidance.schedule.axis == "steps"
            self._progress[sigma] = (
                step_progress(sigma, self.full) if steps else noise_level_progress(sigma, self.percent_to_sigma)
            )
        return self._progress[sigma]

    def weight(self, sigma: float) -> float:
        """Weight of the safe branch at noise level sigma."""
        weight = self.guidance.schedule.weight(self.progress(sigma), self.guidance.safety, self.context)
        if not 0.0 <= weight <= 1.0:  # false for NaN too
            raise ValueError(f"schedule: its weight at noise level {sigma:g} is {weight}; choose another schedule.")
        return weight

    def constant(self) -> float | None:
        """0 or 1 where every call of the model will have that weight, else None."""
        schedule, ends = self.guidance.schedule, sorted((self.progress(self.sigmas[0]), self.progress(self.sigmas[-1])))
        heights = [schedule.curve(p) for p in (*ends, *(x for x, _ in schedule.points if ends[0] < x < ends[1]))]
        if ends[1] < self.context or not any(heights):
            return 0.0
        everywhere = self.guidance.mask is None and self.guidance.selective is None
        full = self.guidance.safety == 1.0 and everywhere and min(heights) == 1.0
        return 1.0 if full and ends[0] >= self.context else None


def plan_run(guidance: Guidance, patcher: Any, sampler: Any, sigmas: Any, full: Any = None,
             context_called: str = "context") -> RunPlan:  # fmt: skip
    """The RunPlan of a run of the model in `patcher` by `sampler` over the tensor `sigmas`, a part of `full`."""
    percent_to_sigma = patcher.get_model_object("model_sampling").percent_to_sigma
    whole = (sigmas if full is None else full).tolist()
    return RunPlan(guidance, percent_to_sigma, sigmas.tolist(), whole, host.asked_levels(sampler, whole),
                   context_called)  # fmt: skip
