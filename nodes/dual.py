"""Dual evaluation: two conditionings and the negative in one batched call, blended by the plan's weight.

D = CFG(negative, (1 - w) D(written) + w D(safe), cfg): a reconstruction from the abstract of arXiv 2411.13982; the
choices are design decisions of this pack. At w = 0 and w = 1 the host's own sampling function runs, with the one
conditioning, so that rows, indices and bits are a stock run's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import comfy.samplers
import torch

from ..safelight.blend import cover
from .branches import (
    Entries,
    always_active,
    always_everywhere,
    any_active,
    covered,
    marked,
    reaches_beyond,
    safe_pair,
    written_pair,
)
from .host import renew_step_cache
from .inputs import Guidance, fit_mask
from .plan import RunPlan, plan_run
from .report import RunRecord

# Position of the safe conditioning in the call with three.
SAFE_INDEX = 2


class DualRun:
    """One run of a guider: predicts in its place, and records what it did.

    forced: None, or the branch ("written" or "safe") that alone predicts, or a weight in its plan's stead.
    alone: 0 or 1 where every call has that weight, so that the host got one of the two conditionings only; else None.
    """

    def __init__(self, plan: RunPlan, record: RunRecord) -> None:
        self.plan = plan
        self.record = record
        self.forced: str | float | None = None
        self.alone: float | None = None
        self._mask: torch.Tensor | None = None
        self._checked = False
        self._branches = ""  # those of the last call

    def handed(self, conds: dict[str, Entries], safe: Entries) -> dict[str, Entries]:
        """The conditionings that the host gets for this run: `conds` and the safe one, all of them converted.

        Where every call has the same weight, 0 or 1, only the one that is used, in the place of the positive one.
        Raises ValueError where that would leave a picture without any guidance.
        """
        constant = self.plan.constant()
        if constant == 0.0 and self.plan.ends_in_picture:
            raise ValueError("curve: it is zero at every step of this run, so nothing would be guarded; raise the "
                             "curve there, or set safety to 0 for this run.")  # fmt: skip
        if constant == 0.0 and always_active(conds["positive"]):
            self.alone = 0.0
            return conds
        if constant == 1.0 and always_everywhere(safe):
            self.alone = 1.0
            return {**conds, "positive": safe}
        return marked({**conds, "safe": safe})

    def predict(self, guider: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
                seed: int | None = None) -> torch.Tensor:  # fmt: skip
        """Stands for CFGGuider.predict_noise. timestep: sigma, [B]."""
        conds, sigma = guider.conds, timestep[0]
        if self.alone is not None:
            pair = conds["positive"], conds.get("negative")
            return self._stock(guider, pair, self.alone, x, timestep, model_options, seed)
        written_and_negative, safe_and_negative = written_pair(conds), safe_pair(conds)
        written, safe = written_and_negative[0], safe_and_negative[0]
        if not self._checked:
            self._check_reach(safe)
            self._checked = True

        weight = self._weight(float(sigma))
        mask = self.fitted_mask(x) if weight > 0.0 else None
        if not any_active(safe, sigma):
            weight = 0.0
        elif not any_active(written, sigma):
            weight, mask = 1.0, None
        if weight == 0.0:
            return self._stock(guider, written_and_negative, 0.0, x, timestep, model_options, seed)
        reach_u, reach_s = covered(written, x, timestep), covered(safe, x, timestep)
        if weight == 1.0 and mask is None and not reaches_beyond(reach_u, reach_s):
            return self._stock(guider, safe_and_negative, 1.0, x, timestep, model_options, seed)

        negative, cfg = conds.get("negative"), guider.cfg
        if math.isclose(cfg, 1.0) and not model_options.get("disable_cfg1_optimization", False):
            negative = None
        self._begin_call(guider.inner_model, "both", timestep, weight, model_options)
        model, three = guider.inner_model, [written, negative, safe]
        denoised_u, denoised_0, denoised_s = self._evaluate(model, three, x, timestep, model_options)
        merged = cover(denoised_u, denoised_s, reach_u, reach_s, weight if mask is None else weight * mask)

        cond = safe if weight >= 0.5 else written
        pair, out = [cond, negative], [merged, denoised_0]
        for hook in model_options.get("sampler_pre_cfg_function", []):
            out = hook({"conds": pair, "conds_out": out, "cond_scale": cfg, "timestep": timestep, "input": x,
                        "sigma": timestep, "model": model, "model_options": model_options})  # fmt: skip
        return comfy.samplers.cfg_function(model, out[0], out[1], cfg, x, timestep, model_options=model_options,
                                           cond=cond, uncond=negative)  # fmt: skip

    def check_guided(self) -> None:
        """Raises ValueError where a picture came out of a run that had to be guided and was not."""
        if self.plan.ends_in_picture and not self.record.guided:
            raise ValueError("safe: it never steered in this run (its timestep range, a cache of another node or the "
                             "sampler left out every guarded step), so the picture is not guarded. Lower the "
                             "schedule's context, or use more steps.")  # fmt: skip

    def _stock(self, guider: Any, pair: tuple[Entries, Entries | None], weight: float, x: torch.Tensor,
               timestep: torch.Tensor, model_options: dict[str, Any], seed: int | None) -> torch.Tensor:  # fmt: skip
        """The host's own prediction for a pair of conditionings."""
        branch = "safe" if weight == 1.0 else "written"
        self._begin_call(guider.inner_model, branch, timestep, weight, model_options)
        conds = guider.conds
        guider.conds = {**conds, "positive": pair[0], "negative": pair[1]}
        try:
            return comfy.samplers.CFGGuider.predict_noise(guider, x, timestep, model_options, seed)
        finally:
            guider.conds = conds

    def _evaluate(self, model: Any, conds: list[list | None], x: torch.Tensor, sigma: torch.Tensor,
                  model_options: dict[str, Any]) -> list[torch.Tensor]:  # fmt: skip
        """Denoised predictions of [written, negative, safe], in one call of the host's batching."""
        replaced = model_options.get("sampler_calc_cond_batch_function")
        if replaced is not None:
            # Another pack's evaluation of a (cond, uncond) pair: it keeps getting pairs.
            def pair(cond: list | None, uncond: list | None) -> Any:
                return replaced({"conds": [cond, uncond], "input": x, "sigma": sigma, "model": model,
                                 "model_options": model_options})  # fmt: skip

            first, rows = pair(conds[0], conds[1]), self.record.rows
            second = pair(conds[2], None)
            self.record.extra_rows += self.record.rows - rows
            return [first[0], first[1], second[0]]

        previous = model_options.get("model_function_wrapper")

        def shown_as_pair(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
            # Patches index rows by 0 and 1; they see the safe rows as conditional ones. The host's own list, by which
            # it sorts the results, stays as it is.
            given = args["cond_or_uncond"]
            self.record.extra_rows += args["input"].shape[0] // len(given) * given.count(SAFE_INDEX)
            shown = [0 if index == SAFE_INDEX else index for index in given]
            c = dict(args["c"])
            c["transformer_options"] = {**c.get("transformer_options", {}), "cond_or_uncond": shown[:]}
            if previous is None:
                return apply_model(args["input"], args["timestep"], **c)
            return previous(apply_model, {**args, "c": c, "cond_or_uncond": shown})

        options = {**model_options, "model_function_wrapper": shown_as_pair}
        return comfy.samplers.calc_cond_batch(model, conds, x, sigma, options)

    def _begin_call(self, model: Any, branches: str, timestep: torch.Tensor, weight: float,
                    model_options: dict[str, Any]) -> None:  # fmt: skip
        """Notes a call of these branches, and keeps a step cache from answering for one that it has not seen."""
        if self._branches not in ("", branches):
            renew_step_cache(model, model_options)
        self._branches = branches
        sigma = float(timestep[0])
        self.record.call(sigma, self.plan.progress(sigma), weight)

    def _weight(self, sigma: float) -> float:
        if self.forced is None:
            return self.plan.weight(sigma)
        return {"written": 0.0, "safe": 1.0}[self.forced] if isinstance(self.forced, str) else self.forced

    def fitted_mask(self, x: torch.Tensor) -> torch.Tensor | None:
        if self._mask is None and self.plan.guidance.mask is not None:
            self._mask = fit_mask(self.plan.guidance.mask, x)
        return self._mask

    def _check_reach(self, safe: Entries) -> None:
        """A safe conditioning that no guarded step would ever see is an error before the first step, not after."""
        if not self.plan.ends_in_picture or self.forced is not None:
            return
        guarded = [sigma for sigma in self.plan.sigmas[:-1] if self.plan.weight(sigma) > 0.0]
        if not any(any_active(safe, torch.tensor(sigma)) for sigma in guarded):
            raise ValueError("safe: its timestep range leaves out every guarded step, so nothing would be guarded; "
                             "widen the range, or lower the schedule's context.")  # fmt: skip


class StockGuider(comfy.samplers.CFGGuider):
    """The host's guider, with a record of its calls and rows. It predicts as the host does."""

    def __init__(self, model: Any, record: RunRecord) -> None:
        super().__init__(model)
        self.record = record

    def __call__(self, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.record.call(float(timestep[0]), None, 0.0)
        return super().__call__(x, timestep, *args, **kwargs)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        with counting(self, self.record):
            return super().sample(*args, **kwargs)


class SafeGuider(comfy.samplers.CFGGuider):
    """A guider with a safe counterpart to its positive conditioning.

    full_sigmas: the noise schedule of which the runs are parts; None where a run's own is all that is known.
    record: where to write down what a run does; None for a guider that serves several runs and tells the log.
    """

    def __init__(self, model: Any, guidance: Guidance, full_sigmas: torch.Tensor | None = None,
                 record: RunRecord | None = None) -> None:  # fmt: skip
        super().__init__(model)
        self.guidance = guidance
        self.full_sigmas = full_sigmas
        self.record = record
        self.run: DualRun | None = None

    def set_conds(self, positive: list, negative: list, safe: list | None = None) -> None:
        """positive, negative, safe: CONDITIONING; the safe one as read_safe returns it."""
        self.inner_set_conds({"positive": positive, "negative": negative, "safe": safe})

    def sample(self, noise: Any, latent_image: Any, sampler: Any, sigmas: torch.Tensor, *args: Any,
               **kwargs: Any) -> Any:  # fmt: skip
        if sigmas.shape[-1] < 2:
            return super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        record = self.record or RunRecord()
        plan = plan_run(self.guidance, self.model_patcher, sampler, sigmas, self.full_sigmas)
        record.plan(plan)
        run = DualRun(plan, record)
        conds = self.original_conds
        self.run = run
        self.original_conds = run.handed({key: conds[key] for key in ("positive", "negative")}, conds["safe"])
        try:
            with nullcontext() if self.record is None else counting(self, record):
                output = super().sample(noise, latent_image, sampler, sigmas, *args, **kwargs)
        finally:
            self.original_conds = conds
            self.run = None
        run.check_guided()
        if self.record is None:
            record.log()
        return output

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any] = {},  # noqa: B006
                      seed: int | None = None) -> torch.Tensor:  # fmt: skip
        assert self.run is not None
        return self.run.predict(self, x, timestep, model_options, seed)


@contextmanager
def counting(guider: Any, record: RunRecord) -> Iterator[None]:
    """Counts in `record` the rows that the guider's model evaluates while open."""
    options = guider.model_options

    def counted(apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        record.rows += args["input"].shape[0]
        # Asked for now: the host may move a wrapper to another device, and replace it, when it loads the model.
        wrapper = guider.model_patcher.model_options.get("model_function_wrapper")
        if wrapper is None:
            return apply_model(args["input"], args["timestep"], **args["c"])
        return wrapper(apply_model, args)

    guider.model_options = {**options, "model_function_wrapper": counted}
    try:
        yield
    finally:
        guider.model_options = options
