"""Separate trajectories: from the context on, one latent per prompt, merged once, then one run to the end.

A sampler that runs the host's sampler over parts of the noise schedule, inside one run of the guider: models load once,
previews, masks and interruption work as ever. A multistep sampler starts anew at each cut.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import comfy.samplers
import torch

from safelight.guidance import trajectories
from safelight.guidance.schedule import unit_number
from safelight.engine.dual_run import DualRun
from safelight.engine.run_plan import RunPlan
from safelight.engine.guider import SteeredGuider

_SEEDS = 2**64


def cuts(plan: RunPlan, merge_at: float) -> tuple[int, int] | None:
    """Indices in the run's noise levels: where the trajectories part, and where they merge; None where no step fits.

    The merge needs noise to merge, so it comes one step before the end of a run that ends without. The two are the
    same where the run lies before the context as a whole, or behind merge_at.
    """
    progress = [plan.progress(sigma) for sigma in plan.sigmas]
    last = len(progress) - (1 if plan.sigmas[-1] > 0.0 else 2)
    part, merge = bisect_left(progress, plan.context), min(bisect_left(progress, merge_at), last)
    if progress[0] >= merge_at or part >= len(progress):
        part = merge = min(part, len(progress) - 1)
    elif part >= merge:
        return None
    return part, merge


def separate_sampler(sampler: Any, guider: SteeredGuider, merge_at: float) -> Any:
    """A sampler for `guider` that takes two trajectories through `sampler`, a KSAMPLER of the host."""
    merge_at = unit_number("merge_at", merge_at)

    def sample(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: Any,
               disable: bool, **options: Any) -> torch.Tensor:  # fmt: skip
        run = guider.run
        assert run is not None
        plan = run.plan
        weight = trajectories.merge_weight(plan.guidance.schedule, plan.guidance.safety, merge_at, plan.context)
        at = cuts(plan, merge_at)
        if at is None:
            run.record.notes.append(f"no step lies between context {plan.context:g} and merge_at {merge_at:g}: merged "
                                    "every step.")  # fmt: skip
        if at is None or run.alone is not None:
            return sampler.sampler_function(model, x, sigmas, extra_args=extra_args, callback=callback,
                                            disable=disable, **options)  # fmt: skip
        parts = _Parts(sampler.sampler_function, model, sigmas, extra_args, callback, disable, options)
        return _two_trajectories(parts, run, x, *at, weight)

    sample.__name__ = getattr(sampler.sampler_function, "__name__", "")  # samplers are told apart by it
    return comfy.samplers.KSAMPLER(sample, sampler.extra_options, sampler.inpaint_options)


def _two_trajectories(parts: _Parts, run: DualRun, x: torch.Tensor, part: int, merge: int,
                      weight: float) -> torch.Tensor:  # fmt: skip
    """From the noisy latents x at the first noise level to those at the last.

    After the merge both prompts go on steering, by the weight of the merge: the written one alone would bring back
    what was taken out.
    """
    run.forced = "written"
    x = parts.run(x, 0, part, 0)
    if merge > part:
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):  # the same draws for both
            z_u = parts.run(x, part, merge, 1)
        plain_rows = run.record.plain_rows
        denoised_u = parts.denoised(z_u, merge)
        run.forced = "safe"
        z_s = parts.run(x, part, merge, 1)
        denoised_s = parts.denoised(z_s, merge)
        run.record.extra_rows += run.record.plain_rows - plain_rows
        mask = run.fitted_mask(x)
        x = trajectories.merge_trajectories(z_u, z_s, denoised_u, denoised_s, parts.sigmas[merge],
                                            weight if mask is None else weight * mask, parts.signal(merge))  # fmt: skip
    run.forced = weight
    return parts.run(x, merge, len(parts.sigmas) - 1, 2)


class _Parts:
    """The host's sampler, to be run over parts of the noise schedule `sigmas`."""

    def __init__(self, function: Any, model: Any, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: Any,
                 disable: bool, options: dict[str, Any]) -> None:  # fmt: skip
        self.function, self.model, self.sigmas, self.extra_args = function, model, sigmas, extra_args
        self.callback, self.disable, self.options = callback, disable, options

    def run(self, x: torch.Tensor, start: int, end: int, number: int) -> torch.Tensor:
        """Steps from the noise level `start` to the one at `end`, as part `number` of the run."""
        if end <= start:
            return x
        # A sampler that draws noise seeds a generator each time: a seed for each part, the same for both branches.
        extra_args = dict(self.extra_args)
        if extra_args.get("seed") is not None:
            extra_args["seed"] = (extra_args["seed"] + number) % _SEEDS

        def callback(step: dict[str, Any]) -> None:
            if self.callback is not None:
                self.callback({**step, "i": step["i"] + start})

        return self.function(self.model, x, self.sigmas[start : end + 1], extra_args=extra_args, callback=callback,
                             disable=self.disable, **self.options)  # fmt: skip

    def denoised(self, z: torch.Tensor, at: int) -> torch.Tensor:
        """The prediction for z at the noise level `at`."""
        return self.model(z, self.sigmas[at] * z.new_ones([z.shape[0]]), **self.extra_args)

    def signal(self, at: int) -> float:
        """The scale of the clean picture in a latent at the noise level `at`: 1, or 1 - sigma in flow models."""
        one = torch.ones(1, 1, 1, 1, device=self.sigmas.device)
        scaled = self.model.inner_model.inner_model.model_sampling.noise_scaling
        return float(scaled(self.sigmas[at].reshape(1, 1, 1, 1), torch.zeros_like(one), one))
