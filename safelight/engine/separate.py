"""Separate trajectories: from the schedule's start on, one latent per prompt, merged once, then one run to the end.

The sampler made here runs the host's sampler over parts of the noise schedule, inside one run of the guider: models
load once; previews, masks and interruption work as usual. A multistep sampler starts anew at each cut.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import unit_number
from safelight.engine.draws import undone_draws
from safelight.engine.method_run import MethodRun
from safelight.engine.run_plan import RunPlan
from safelight.engine.wrapped_sampler import SamplerCall, wrapped_sampler
from safelight.guidance import trajectories
from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.dual import DualBlend

if TYPE_CHECKING:
    from comfy.samplers import KSAMPLER

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


def separate_sampler(sampler: KSAMPLER, merge_at: float) -> KSAMPLER:
    """A sampler for a MethodGuider of the dual blend that takes two trajectories through `sampler`."""
    merge_at = unit_number("merge_at", merge_at)

    def sample(call: SamplerCall) -> torch.Tensor:
        run: MethodRun = call.model.inner_model.run
        plan = run.plan
        schedule, safety = plan.settings.schedule, plan.settings.safety
        weight = trajectories.merge_weight(schedule, safety, merge_at, plan.start_percent)
        at = cuts(plan, merge_at)
        if at is None:
            run.record.notes.append(
                f"no step lies between context {plan.start_percent:g} and merge_at {merge_at:g}: merged every step."
            )
        if at is None or run.only is not None:
            return call.run()
        return _two_trajectories(_Parts(call), run, *at, weight)

    return wrapped_sampler(sampler, sample)


def _two_trajectories(parts: _Parts, run: MethodRun, part: int, merge: int, weight: float) -> torch.Tensor:
    """Takes the noisy latents of the call from the first sigma to the last.

    After the merge both prompts go on steering, by the weight of the merge: the positive prompt alone would bring back
    what was taken out.
    """
    assert isinstance(run.method, DualBlend)
    call = parts.call
    run.forced = POSITIVE
    x = parts.run(call.x, 0, part, 0)
    if merge > part:
        with undone_draws(x):  # the same draws for both
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
            call.sigmas[merge],
            weight if mask is None else weight * mask,
            parts.signal(merge),
        )
    run.forced = weight
    return parts.run(x, merge, len(call.sigmas) - 1, 2)


@dataclass(frozen=True)
class _Parts:
    """A call of the host's sampler, to be run over parts of its noise schedule."""

    call: SamplerCall

    def run(self, x: torch.Tensor, start: int, end: int, number: int) -> torch.Tensor:
        """Samples from the sigma at index `start` to that at `end`, as part `number` of the run."""
        if end <= start:
            return x
        # A sampler that draws noise seeds a generator in each part: so each has its own seed, one for both prompts.
        extra_args = dict(self.call.extra_args)
        if extra_args.get("seed") is not None:
            extra_args["seed"] = (extra_args["seed"] + number) % _SEEDS

        def callback(step: dict[str, Any]) -> None:
            if self.call.callback is not None:
                self.call.callback({**step, "i": step["i"] + start})

        sigmas = self.call.sigmas[start : end + 1]
        return replace(self.call, x=x, sigmas=sigmas, extra_args=extra_args, callback=callback).run()

    def denoised(self, z: torch.Tensor, at: int) -> torch.Tensor:
        """The prediction for z at the sigma of index `at`."""
        return self.call.model(z, self.call.sigmas[at] * z.new_ones([z.shape[0]]), **self.call.extra_args)

    def signal(self, at: int) -> float:
        """The scale of the clean picture in a latent at the sigma of index `at`: 1, or 1 - sigma in flow models."""
        sigmas = self.call.sigmas
        one = torch.ones(1, 1, 1, 1, device=sigmas.device)
        scaled = self.call.model.inner_model.inner_model.model_sampling.noise_scaling
        return float(scaled(sigmas[at].reshape(1, 1, 1, 1), torch.zeros_like(one), one))
