"""Separate trajectories: from the context on, one latent per prompt, merged once, then one run to the end.

A sampler that runs the host's sampler over parts of the noise schedule, inside one run of the guider: models load once,
previews, masks and interruption work as ever. A multistep sampler starts anew at each cut.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import comfy.samplers
import torch

from ..safelight.schedule import unit_number
from ..safelight.trajectories import merge_trajectories, merge_weight
from .dual import DualRun, SafeGuider
from .plan import RunPlan

_SEEDS = 2**64


def cuts(plan: RunPlan, merge_at: float) -> tuple[int, int]:
    """Indices in the run's noise levels: where the trajectories part, and where they merge.

    The merge needs noise to merge, so it comes one step before the end of a run that ends without. Both indices are
    the same where merge_at lies before the run. Raises ValueError where no step fits between context and merge_at.
    """
    steps = len(plan.sigmas) - 1
    progress = [plan.progress(sigma) for sigma in plan.sigmas]
    last = steps if plan.sigmas[-1] > 0.0 else steps - 1
    if progress[0] >= merge_at:
        return 0, 0
    part = bisect_left(progress, plan.context)
    merge = min(bisect_left(progress, merge_at), last)
    if part < merge or part > last:
        return min(part, steps), max(min(part, steps), merge)
    raise ValueError(f"merge: no step of this run lies between context {plan.context:g} and merge_at {merge_at:g}; use "
                     "more steps, lower the schedule's context, raise merge_at, or merge every step.")  # fmt: skip


def separate_sampler(sampler: Any, guider: SafeGuider, merge_at: float) -> Any:
    """A sampler for `guider` that takes two trajectories through `sampler`, a KSAMPLER of the host."""
    merge_at = unit_number("merge_at", merge_at)

    def sample(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: Any,
               disable: bool, **options: Any) -> torch.Tensor:  # fmt: skip
        run = guider.run
        assert run is not None
        return _Trajectories(sampler.sampler_function, run, merge_at, model, sigmas, extra_args, callback, disable,
                             options).sample(x)  # fmt: skip

    return comfy.samplers.KSAMPLER(sample, sampler.extra_options, sampler.inpaint_options)


class _Trajectories:
    def __init__(self, function: Any, run: DualRun, merge_at: float, model: Any, sigmas: torch.Tensor,
                 extra_args: dict[str, Any], callback: Any, disable: bool, options: dict[str, Any]) -> None:  # fmt: skip
        self.function, self.run, self.model, self.sigmas = function, run, model, sigmas
        self.extra_args, self.callback, self.disable, self.options = extra_args, callback, disable, options
        plan = run.plan
        self.weight = merge_weight(plan.guidance.schedule, plan.guidance.safety, merge_at, plan.context)
        self.part, self.merge = cuts(plan, merge_at)

    def sample(self, x: torch.Tensor) -> torch.Tensor:
        """x: the noisy latents at the first noise level. Returns those at the last."""
        run, end = self.run, len(self.sigmas) - 1
        x = self._run(x, 0, self.part, "written", 0)
        if self.merge > self.part:
            devices = [x.device] if x.device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices):  # the same draws for both
                z_u = self._run(x, self.part, self.merge, "written", 1)
            z_s = self._run(x, self.part, self.merge, "safe", 1)
            x = self._merged(z_u, z_s)
        x = self._run(x, self.merge, end, self.weight, 2)
        run.forced = None
        return x

    def _merged(self, z_u: torch.Tensor, z_s: torch.Tensor) -> torch.Tensor:
        sigma = self.sigmas[self.merge]
        denoised_u = self._denoised(z_u, sigma, "written")
        denoised_s = self._denoised(z_s, sigma, "safe")
        # The scale of the clean picture in a noisy latent: 1, or 1 - sigma in flow models.
        one = torch.ones(1, 1, 1, 1, device=z_u.device)
        scaling = self.model.inner_model.inner_model.model_sampling.noise_scaling
        signal = float(scaling(sigma.reshape(1, 1, 1, 1), torch.zeros_like(one), one))
        mask = self.run.fitted_mask(z_u)
        weight = self.weight if mask is None else self.weight * mask
        return merge_trajectories(z_u, z_s, denoised_u, denoised_s, sigma, weight, signal)

    def _denoised(self, z: torch.Tensor, sigma: torch.Tensor, branch: str) -> torch.Tensor:
        self.run.forced = branch
        return self.model(z, sigma * z.new_ones([z.shape[0]]), **self.extra_args)

    def _run(self, x: torch.Tensor, start: int, end: int, forced: str | float, part: int) -> torch.Tensor:
        """The host's sampler from step `start` to step `end`."""
        if end <= start:
            return x
        self.run.forced = forced
        # Samplers that draw noise seed their generator per call: another seed for each part, the same for both branches.
        extra_args = dict(self.extra_args)
        if extra_args.get("seed") is not None:
            extra_args["seed"] = (extra_args["seed"] + part) % _SEEDS
        callback = self.callback
        if callback is not None:
            def callback(step: dict[str, Any]) -> None:
                self.callback({**step, "i": step["i"] + start})

        return self.function(self.model, x, self.sigmas[start:end + 1], extra_args=extra_args, callback=callback,
                             disable=self.disable, **self.options)  # fmt: skip
