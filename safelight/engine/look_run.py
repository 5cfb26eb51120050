"""A run that looks at itself on the way, and goes on at the first level where every picture shows something.

The plain run's clean prediction is looked at before the first call on which the first level would steer: until there
the two are one run, so pictures that go on at that level are that level's pictures. Where some of a batch are found and
others are not, the run stays the stock one to its end, so that the others keep its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from safelight.detect.least_level import PLAIN, Ascent
from safelight.detect.look import Look
from safelight.engine.branches import CondEntries
from safelight.engine.cond_batch import ModelCall
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup, safe_conditionings
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_plan import RunPlan
from safelight.engine.run_record import RunRecord
from safelight.guidance.dual import DualBlend
from safelight.guidance.method import GuidanceMethod
from safelight.guidance.settings import GuidanceSettings
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

# Looks at clean predictions [B, C, ...] of a call.
Watch = Callable[[ModelCall, torch.Tensor], list[Look]]


class LookSetup(MethodSetup):
    """The dual blend at a level. settings: at the slider's place. ways: of the pictures of the batch; todo: those that
    the run is for, all of them at the same level. watch: looks on the way. run: the last one.
    """

    def __init__(
        self,
        settings: GuidanceSettings,
        safe: Conditioning,
        ways: Sequence[Ascent],
        todo: Sequence[int],
        watch: Watch,
        trace: Trace,
        memory: RowMemory,
    ) -> None:
        conditionings, notes = safe_conditionings(safe)
        super().__init__("Safelight", lambda: DualBlend(settings), conditionings, trace, notes, memory)
        self.ways, self.todo, self.watch = ways, todo, watch
        self.run: LookRun | None = None

    def make_run(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord) -> LookRun:
        self.run = LookRun(method, plan, record, self)
        return self.run


class LookRun(MethodRun):
    """found_early: pictures that were found on the way of a run that stays plain."""

    def __init__(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord, setup: LookSetup) -> None:
        super().__init__(method, plan, record, setup.trace)
        self.found_early: list[int] = []
        self._ways, self._todo = setup.ways, list(setup.todo)
        self._level = setup.ways[setup.todo[0]].level
        self._at_level = plan.at_safety(self._level)
        self._first = plan.at_safety(setup.ways[0].levels[0])
        self._watch: Watch | None = setup.watch if self._level == PLAIN else None
        self._denoised: torch.Tensor | None = None

    def _only(self, conds: dict[str, CondEntries]) -> str | None:
        super()._only(conds)  # for its error
        return None

    def predict(self, call: ModelCall) -> torch.Tensor:
        if self._watch is not None and self._first.weight(call.level) > 0.0:
            if self._denoised is not None:
                self._look(call, self._watch, self._denoised)
            self._watch = None  # where the first level steers from the first call on, there is nothing to look at yet
        self._denoised = super().predict(call)
        return self._denoised

    def check_guided(self) -> None:
        if self._level > PLAIN:
            super().check_guided()

    def _weight(self, sigma: float) -> float:
        return self._at_level.weight(sigma)

    def _look(self, call: ModelCall, watch: Watch, denoised: torch.Tensor) -> None:
        if self.harmless:
            return
        looks = watch(call, denoised[self._todo])
        found = [i for i, look in zip(self._todo, looks, strict=True) if self._ways[i].look_early(look)]
        if len(found) < len(self._todo):
            self.found_early = found
            return
        for i in found:
            self._ways[i].rise()
        self._level, self._at_level = self._ways[found[0]].level, self._first
