"""One sampler run over the frames of a strip: equal noise, equal prompts, a weight of its own for each frame.

At each call of the model the frames are sorted into those that the prompt as written decides, those that the safe one
decides, and the rest; equal ones are evaluated once. Each group is a call of the dual evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from safelight.guidance.economy import BOTH
from safelight.views.contact_sheet import alike
from safelight.views.trace import Trace
from safelight.engine import host
from safelight.engine.branches import Entries, any_active, marked, written_pair
from safelight.engine.dual_run import NEVER_STEERED, DualRun, DualSteering
from nodes.inputs import Guidance
from safelight.engine.run_plan import RunPlan, plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.guider import Conditioning


class StripSteering(DualSteering):
    """The dual evaluation at several levels. guidance: at the highest of them."""

    def __init__(self, guidance: Guidance, safe: Conditioning, levels: Sequence[float]) -> None:
        super().__init__(guidance, safe, _NoTrace())
        self.levels = levels
        self.run: StripRun | None = None  # the last one

    def begin(self, patcher: Any, sampler: Any, sigmas: torch.Tensor, full: torch.Tensor | None,
              record: RunRecord) -> Any:  # fmt: skip
        plan = plan_run(self.guidance, patcher, sampler, sigmas, full)
        record.plan(plan)
        plans = [plan.at(level) for level in self.levels]
        record.notes += [f"level {level:g}: {note}" for level, own in zip(self.levels, plans, strict=True)
                         for note in own.notes if note not in plan.notes]  # fmt: skip
        self.run = StripRun(plan, plans, record, self.trace)
        return self.run


class StripRun:
    """One run of a guider over frames, which are equal parts of the batch.

    plan: of the highest level. plans: of each frame's.
    weights: for each frame the weight of every call so far. The record has the calls of the highest level, and as plain
    rows those of a stock run of all frames.
    """

    def __init__(self, plan: RunPlan, plans: Sequence[RunPlan], record: RunRecord, trace: Trace) -> None:
        self.plan, self.plans, self.record = plan, plans, record
        self.levels = [own.guidance.safety for own in plans]
        self.weights: list[list[float]] = [[] for _ in plans]
        self._most = len(plans)  # frames in one call of the model
        self._group = FrameGroup(plan, record, trace)

    def handed(self, conds: dict[str, Entries]) -> dict[str, Entries]:
        if self.plan.constant() == 0.0:  # an error, in the words of a single run
            self._group.handed(conds)
        return marked(conds)

    def predict(self, guider: Any, x: torch.Tensor, timestep: torch.Tensor, model_options: dict[str, Any],
                seed: int | None = None) -> torch.Tensor:  # fmt: skip
        frames, sigmas = x.chunk(len(self.levels)), timestep.chunk(len(self.levels))
        weights = [plan.weight(float(timestep[0])) for plan in self.plans]
        # Where the written prompt's range leaves a step out, the safe one stands there at every level but 0.
        told = any_active(written_pair(guider.conds)[0], timestep[0])
        kinds = ["off" if level == 0.0 and not told else self._group.kind(weight)
                 for level, weight in zip(self.levels, weights, strict=True)]  # fmt: skip
        classes = alike(frames, list(zip(kinds, weights, strict=True)))
        out: list[Any] = [None] * len(frames)
        acted: list[float] = [0.0] * len(frames)

        def call(some: list[list[int]]) -> None:
            first = [same[0] for same in some]
            inputs = torch.cat([frames[i] for i in first]), torch.cat([sigmas[i] for i in first])
            plain = self.record.plain_rows
            denoised = self._group.at([weights[i] for i in first], kinds[first[0]], guider, *inputs, model_options,
                                      seed)  # fmt: skip
            stands_for = sum(map(len, some)) / len(some)
            self.record.extra_rows = self.record.rows - plain - round((self.record.plain_rows - plain) * stands_for)
            for same, part, weight in zip(some, denoised.chunk(len(some)), self._group.acted, strict=True):
                for i in same:
                    out[i], acted[i] = part, weight

        for kind in dict.fromkeys(kinds):
            self._in_parts(call, [same for same in classes if kinds[same[0]] == kind])
        for taken, weight in zip(self.weights, acted, strict=True):
            taken.append(weight)
        sigma = float(timestep[0])
        self.record.call(sigma, self.plan.progress(sigma), acted[self.levels.index(max(self.levels))])
        return torch.cat(out)

    def check_guided(self) -> None:
        for level, taken in zip(self.levels, self.weights, strict=True):
            if level > 0.0 and self.plan.ends_in_picture and not any(taken):
                raise ValueError(NEVER_STEERED)

    def _in_parts(self, call: Any, classes: list[list[int]]) -> None:
        """Calls of at most as many frames as memory has been enough for; where it is not, of half as many."""
        done = 0
        while done < len(classes):
            some = classes[done : done + self._most]
            rows, extra = self.record.rows, self.record.extra_rows
            try:
                call(some)
            except Exception as error:
                if len(some) == 1 or not host.is_out_of_memory(error):
                    raise
            else:
                done += len(some)
                continue
            # Outside of the handler, so that nothing holds what the failed call has allocated.
            self.record.rows, self.record.extra_rows = rows, extra
            self._most = (len(some) + 1) // 2
            self.record.notes.append(f"memory ran out with {len(some)} frames at once: {self._most} at most since.")
            host.free_cache()


class FrameGroup(DualRun):
    """Frames of a strip that one call of the model serves. acted: the weights that the last call had."""

    def __init__(self, plan: RunPlan, record: RunRecord, trace: Trace) -> None:
        super().__init__(plan, record, trace)
        self.acted: list[float] = []
        self._weights: list[float] = []
        self._pictures = 1  # in a frame

    def kind(self, weight: float) -> str:
        """Frames of one kind can be evaluated together."""
        if weight == 0.0:
            return "written"
        everywhere = self.plan.guidance.mask is None and self.plan.guidance.selective is None
        return "safe" if weight == 1.0 and everywhere else "both"

    def at(self, weights: list[float], kind: str, guider: Any, x: torch.Tensor, timestep: torch.Tensor,
           model_options: dict[str, Any], seed: int | None) -> torch.Tensor:  # fmt: skip
        """The prediction for frames with these weights; kind: theirs, or "off" for the stock prediction."""
        self._weights, self._pictures = weights, x.shape[0] // len(weights)
        if kind == "off":
            return self._stock(guider, written_pair(guider.conds), 0.0, x, timestep, model_options, seed)
        return self.predict(guider, x, timestep, model_options, seed)

    def fitted_mask(self, x: torch.Tensor) -> torch.Tensor | None:
        """The artist's mask, times each frame's share of the largest weight."""
        mask = super().fitted_mask(x[: self._pictures])
        if mask is not None and mask.shape[0] > 1:
            mask = torch.cat([mask] * len(self._weights))
        if len(set(self._weights)) == 1:
            return mask
        shares = torch.tensor([weight / max(self._weights) for weight in self._weights], dtype=x.dtype, device=x.device)
        share = shares.repeat_interleave(self._pictures).reshape(-1, *[1] * (x.ndim - 1))
        return share if mask is None else share * mask

    def _weight(self, sigma: float) -> float:
        return max(self._weights)

    def _begin_call(self, model: Any, branches: str, timestep: torch.Tensor, weight: float,
                    model_options: dict[str, Any]) -> None:  # fmt: skip
        self._caches.expect(branches, model, model_options)
        self.acted = self._weights if branches == BOTH else [weight] * len(self._weights)


class _NoTrace(Trace):
    """Keeps nothing: the frames of a strip are for looking at."""

    def add(self, sigma: float, progress: float | None, change: torch.Tensor | None,
            weight: float | None = None) -> None:  # fmt: skip
        pass

    def _alone(self, weight: float, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        pass
