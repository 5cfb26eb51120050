"""Dual evaluation: two conditionings and the negative in one batched call, blended by the plan's weight.

D = CFG(negative, (1 - w) D(written) + w D(safe), cfg): a reconstruction from the abstract of arXiv 2411.13982; the
choices are design decisions of this pack. At w = 0 and w = 1 the host's own sampling function runs, with the one
conditioning, so that rows, indices and bits are a stock run's.
"""

from __future__ import annotations

from typing import Any

import torch

from safelight.guidance.blend import cover
from safelight.guidance.economy import ALLOWED, BOTH, OFF, SAFE, WRITTEN, Memory
from safelight.views.trace import Trace
from safelight.engine.branches import (
    Entries,
    always_active,
    always_everywhere,
    any_active,
    choosable,
    covered,
    is_active,
    marked,
    reaches_beyond,
    safe_pair,
    written_pair,
)
from safelight.engine.cond_batch import Pair, StepCaches, drops_negative, evaluate, guide, stock
from nodes.inputs import Guidance, fit_mask, read_safe
from safelight.engine.run_plan import RunPlan, plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.guider import Conditioning

NEVER_STEERED = (
    "safe: it never steered in this run (its timestep range, a cache of another node or the sampler left out every "
    "guarded step), so the picture is not guarded. Lower the schedule's context, or use more steps."
)
_NOT_ADAPTIVE = "adaptive: a call without the negative prompt (cfg 1, or its timestep range) was not scaled."


class DualSteering:
    """The dual evaluation with its settings. safe: CONDITIONING, as the artist linked it."""

    name = "Safelight"

    def __init__(self, guidance: Guidance, safe: Conditioning, trace: Trace) -> None:
        self.guidance = guidance
        self.safe = safe
        self.trace = trace

    def conditionings(self, written: Conditioning) -> dict[str, Conditioning]:
        return {"safe": read_safe(self.safe, written)}

    def begin(self, patcher: Any, sampler: Any, sigmas: torch.Tensor, full: torch.Tensor | None,
              record: RunRecord) -> DualRun:  # fmt: skip
        run = DualRun(plan_run(self.guidance, patcher, sampler, sigmas, full), record, self.trace)
        record.plan(run.plan)
        return run


class DualRun:
    """One run of a guider: predicts in its place, and records what it did.

    forced: None, or the branch ("written" or "safe") that alone predicts, or a weight in its plan's stead.
    alone: 0 or 1 where every call has that weight, so that the host got one of the two conditionings only; else None.
    """

    def __init__(self, plan: RunPlan, record: RunRecord, trace: Trace) -> None:
        self.plan = plan
        self.record = record
        self.trace = trace
        self.forced: str | float | None = None
        self.alone: float | None = None
        economy = plan.guidance.economy
        self._memory = None if economy == OFF else Memory(ALLOWED[economy], len(plan.sigmas) - 1)
        self._mask: torch.Tensor | None = None
        self._checked = False
        self._caches = StepCaches()

    def handed(self, conds: dict[str, Entries]) -> dict[str, Entries]:
        """`conds`; where every call has the same weight, 0 or 1, without the one of positive and safe that is not used.

        Raises ValueError where that would leave a picture without any guidance.
        """
        conds, safe = {key: entries for key, entries in conds.items() if key != "safe"}, conds["safe"]
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
        mask, selective = self.fitted_mask(x) if weight > 0.0 else None, self.plan.guidance.selective
        if not any_active(safe, sigma):
            weight = 0.0
        elif not any_active(written, sigma):
            weight, mask, selective = 1.0, None, None
        if weight == 0.0:
            return self._stock(guider, written_and_negative, 0.0, x, timestep, model_options, seed)
        reach_u, reach_s = covered(written, x, timestep), covered(safe, x, timestep)
        if weight == 1.0 and mask is None and selective is None and not reaches_beyond(reach_u, reach_s):
            return self._stock(guider, safe_and_negative, 1.0, x, timestep, model_options, seed)

        negative = None if drops_negative(guider.cfg, model_options) else conds.get("negative")
        based = negative is not None and any_active(negative, sigma)
        partly = mask is not None or selective is not None or reach_u is not None or reach_s is not None
        three = [written, negative, safe]
        denoised_u, denoised_0, denoised_s = self._three(guider, three, based, weight, partly, x, timestep,
                                                         model_options)  # fmt: skip
        if selective is not None:
            base = denoised_0 if based else None
            if base is None and selective.adaptive and _NOT_ADAPTIVE not in self.record.notes:
                self.record.notes.append(_NOT_ADAPTIVE)
            chosen = selective.weights(denoised_u, denoised_s, base, choosable(x, mask, reach_u, reach_s))
            mask = chosen if mask is None else chosen * mask
        merged = cover(denoised_u, denoised_s, reach_u, reach_s, weight if mask is None else weight * mask)
        self.trace.add(float(sigma), self.plan.progress(float(sigma)), guider.cfg * (merged - denoised_u), weight)
        pair = safe if weight >= 0.5 else written, negative
        return guide(guider, pair, merged, denoised_0, x, timestep, model_options)

    def _three(self, guider: Any, three: list[Entries | None], based: bool, weight: float, partly: bool,
               x: torch.Tensor, timestep: torch.Tensor,
               model_options: dict[str, Any]) -> list[torch.Tensor]:  # fmt: skip
        """Denoised predictions of [written, negative, safe]; with an economy one of the two prompts' from memory.

        based: whether the negative takes part. partly: whether the safe prompt steers in a part of the picture only.
        """
        written, negative, safe = three
        turn, memory = BOTH, self._memory
        if memory is not None:
            active = tuple(is_active(entry, timestep[0]) for entries in three for entry in entries or ())
            # Where it steers in a part only, the other part is the written one's alone.
            turn = memory.turn(weight / (1.0 + weight) if partly else weight, based, active)
        self._begin_call(guider.inner_model, turn, timestep, weight, model_options)
        if turn == BOTH:
            denoised_u, denoised_0, denoised_s = evaluate(guider.inner_model, three, x, timestep, model_options,
                                                          self.record)  # fmt: skip
            if memory is not None:
                memory.keep(denoised_u, denoised_s, denoised_0 if based else x, float(timestep[0]))
            return [denoised_u, denoised_0, denoised_s]
        assert memory is not None
        one, denoised_0 = evaluate(guider.inner_model, [safe if turn == SAFE else written, negative], x, timestep,
                                   model_options, self.record)  # fmt: skip
        denoised_u, denoised_s = memory.complete(turn, one, denoised_0 if based else x, float(timestep[0]), based)
        return [denoised_u, denoised_0, denoised_s]

    def check_guided(self) -> None:
        if self.plan.ends_in_picture and not self.record.guided:
            raise ValueError(NEVER_STEERED)

    def _stock(self, guider: Any, pair: Pair, weight: float, x: torch.Tensor, timestep: torch.Tensor,
               model_options: dict[str, Any], seed: int | None) -> torch.Tensor:  # fmt: skip
        """The host's own prediction for a pair of conditionings."""
        branch = SAFE if weight == 1.0 else WRITTEN
        if self._memory is not None:
            self._memory.forget()
        self._begin_call(guider.inner_model, branch, timestep, weight, model_options)
        denoised, sigma = stock(guider, pair, x, timestep, model_options, seed), float(timestep[0])
        alone = self.trace.safe_alone if weight == 1.0 else self.trace.written
        alone(sigma, self.plan.progress(sigma), denoised)
        return denoised

    def _begin_call(self, model: Any, branches: str, timestep: torch.Tensor, weight: float,
                    model_options: dict[str, Any]) -> None:  # fmt: skip
        """Notes a call of these branches."""
        self._caches.expect(branches, model, model_options)
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
                             "widen the range, lower the schedule's context, or raise safety.")  # fmt: skip
