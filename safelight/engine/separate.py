"""Separate trajectories: from the schedule's start on, one latent per prompt, merged once, then one run to the end.

The sampler made here runs the host's sampler over parts of the noise schedule, inside one run of the guider: models
load once; previews, masks and interruption work as usual. A multistep sampler starts anew at each cut.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.checks import unit_number
from safelight.engine.method_run import MethodRun
from safelight.engine.run_plan import RunPlan
from safelight.guidance import trajectories
from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.dual import DualBlend

if TYPE_CHECKING:
    from collections.abc import Callable

    from comfy.samplers import KSamplerX0Inpaint

EVERY_STEP, SEPARATE = "every step", "separate"
VALUES = "values"
MERGES = (EVERY_STEP, SEPARATE, VALUES)
DEFAULT_MERGE_AT = 0.8
_SEEDS = 2**64


def cuts(plan: RunPlan, merge_at: float) -> tuple[int, int] | None:
    """Indices in the run's sigmas: where the trajectories part, and where they merge; None where no step fits between.

    The merge needs noise, so in a run that ends without noise it comes one step before the end. The two indices are the
    same where the whole run is before the schedule's start, or after merge_at.
    """
    progress = [plan.progress(sigma) for sigma in plan.sigmas]
    last = len(progress) - (1 if plan.sigmas[-1] > 0.0 else 2)
    part, merge = bisect_left(progress, plan.start_percent), min(bisect_left(progress, merge_at), last)
    if progress[0] >= merge_at or part >= len(progress):
        part = merge = min(part, len(progress) - 1)
    elif part >= merge:
        return None
    return part, merge


def separate_sampler(sampler: comfy.samplers.KSAMPLER, merge_at: float) -> comfy.samplers.KSAMPLER:
    """A sampler for a MethodGuider of the dual blend that takes two trajectories through `sampler`."""
    merge_at = unit_number("merge_at", merge_at)

    def sample(
        model: KSamplerX0Inpaint,
        x: torch.Tensor,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Callable[..., None] | None,
        disable: bool,
        **options: Any,
    ) -> torch.Tensor:
        run: MethodRun = model.inner_model.run
        plan = run.plan
        schedule, safety = plan.settings.schedule, plan.settings.safety
        weight = trajectories.merge_weight(schedule, safety, merge_at, plan.start_percent)
        at = cuts(plan, merge_at)
        if at is None:
            run.record.notes.append(
                f"no step lies between context {plan.start_percent:g} and merge_at {merge_at:g}: merged every step."
            )
        if at is None or run.only is not None:
            return sampler.sampler_function(
                model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable, **options
            )
        parts = _Parts(sampler.sampler_function, model, sigmas, extra_args, callback, disable, options)
        return _two_trajectories(parts, run, x, *at, weight)

    sample.__name__ = getattr(sampler.sampler_function, "__name__", "")  # the host tells samplers apart by name
    return comfy.samplers.KSAMPLER(sample, sampler.extra_options, sampler.inpaint_options)


def _two_trajectories(
    parts: _Parts, run: MethodRun, x: torch.Tensor, part: int, merge: int, weight: float
) -> torch.Tensor:
    """Takes the noisy latents x from the first sigma to the last.

    After the merge both prompts go on steering, by the weight of the merge: the positive prompt alone would bring back
    what was taken out.
    """
    assert isinstance(run.method, DualBlend)
    run.forced = POSITIVE
    x = parts.run(x, 0, part, 0)
    if merge > part:
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):  # the same draws for both
            z_cond = parts.run(x, part, merge, 1)
        plain_rows = run.record.plain_rows
        denoised_cond = parts.denoised(z_cond, merge)
        run.forced = SAFE
        z_safe = parts.run(x, part, merge, 1)
        denoised_safe = parts.denoised(z_safe, merge)
        run.record.extra_rows += run.record.plain_rows - plain_rows
        mask = run.method.fitted_mask(x)
        x = trajectories.merge_trajectories(
            z_cond,
            z_safe,
            denoised_cond,
            denoised_safe,
            parts.sigmas[merge],
            weight if mask is None else weight * mask,
            parts.signal(merge),
        )
    run.forced = weight
    return parts.run(x, merge, len(parts.sigmas) - 1, 2)


@dataclass(frozen=True)
class _Parts:
    """The host's sampler, to be run over parts of the noise schedule `sigmas`."""

    function: Callable[..., torch.Tensor]
    model: KSamplerX0Inpaint
    sigmas: torch.Tensor
    extra_args: dict[str, Any]
    callback: Callable[..., None] | None
    disable: bool
    options: dict[str, Any]

    def run(self, x: torch.Tensor, start: int, end: int, number: int) -> torch.Tensor:
        """Samples from the sigma at index `start` to that at `end`, as part `number` of the run."""
        if end <= start:
            return x
        # A sampler that draws noise seeds a generator in each part: so each has its own seed, one for both prompts.
        extra_args = dict(self.extra_args)
        if extra_args.get("seed") is not None:
            extra_args["seed"] = (extra_args["seed"] + number) % _SEEDS

        def callback(step: dict[str, Any]) -> None:
            if self.callback is not None:
                self.callback({**step, "i": step["i"] + start})

        sigmas = self.sigmas[start : end + 1]
        return self.function(
            self.model, x, sigmas, extra_args=extra_args, callback=callback, disable=self.disable, **self.options
        )

    def denoised(self, z: torch.Tensor, at: int) -> torch.Tensor:
        """The prediction for z at the sigma of index `at`."""
        return self.model(z, self.sigmas[at] * z.new_ones([z.shape[0]]), **self.extra_args)

    def signal(self, at: int) -> float:
        """The scale of the clean picture in a latent at the sigma of index `at`: 1, or 1 - sigma in flow models."""
        one = torch.ones(1, 1, 1, 1, device=self.sigmas.device)
        scaled = self.model.inner_model.inner_model.model_sampling.noise_scaling
        return float(scaled(self.sigmas[at].reshape(1, 1, 1, 1), torch.zeros_like(one), one))
