"""A run that looks at itself on the way, and goes on at the first level where every picture shows something.

The plain run's clean prediction is looked at before the first call on which the first level would steer: until there
the two are one run, so pictures that go on at that level are that level's pictures. Where some of a batch are found and
others are not, the run stays the stock one to its end, so that the others keep its bits. Where the safe prompt is the
prompt as written, it is left there, since it takes words of the eye's to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from safelight.detect.least_level import PLAIN, Ascent
from safelight.detect.look import Look
from safelight.detect.run_predictions import RunPredictions
from safelight.engine.branches import CondEntries, CondPair, with_negative
from safelight.engine.cond_batch import ModelCall
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup, safe_conditionings
from safelight.engine.presence import PredictionWatch, text_branches
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_plan import RunPlan
from safelight.engine.run_record import RunRecord
from safelight.guidance.blend import SAFE
from safelight.guidance.dual import DualBlend
from safelight.guidance.method import GuidanceMethod
from safelight.guidance.settings import GuidanceSettings
from safelight.guidance.unsteered import Unsteered
from safelight.text.conditioning import Conditioning, named
from safelight.views.trace import Trace

if TYPE_CHECKING:
    import comfy.samplers

# Looks at clean predictions [B, C, ...] of a call, and at what the run predicts where the detector asks for that.
Watch = Callable[[ModelCall, torch.Tensor, RunPredictions | None], list[Look]]


AGAINST = "against"  # the negative prompt of calls that the safe prompt decides alone


class FoundEarly(Exception):
    """Leaves a run in which every picture shows something, and which can't go on: its conditionings are fixed."""


class LookSetup(MethodSetup):
    """The dual blend at a level; where there are no levels, a run that is only looked at. settings: at the slider's
    place. ways: of the pictures of the batch; todo: those that the run is for, all of them at the same level. watch:
    looks on the way, None where nothing would follow. texts: those under which the detector asks for predictions.
    against: the negative prompt where the safe one decides alone, None for the run's own. run: the last one.
    """

    def __init__(
        self,
        settings: GuidanceSettings,
        safe: Conditioning,
        ways: Sequence[Ascent],
        todo: Sequence[int],
        watch: Watch | None,
        trace: Trace,
        memory: RowMemory,
        texts: Mapping[str, Conditioning],
        against: Conditioning | None = None,
    ) -> None:
        steers = bool(ways[todo[0]].levels)
        of_method, notes = safe_conditionings(safe) if steers else ((lambda positive: {}), [])

        def conditionings(positive: Conditioning) -> dict[str, Conditioning]:
            conds = {**of_method(positive), **text_branches(texts, positive)}
            if against is not None:
                conds[AGAINST] = named(against, "negative")
            return conds

        make = (lambda: DualBlend(settings)) if steers else Unsteered
        super().__init__("Safelight", make, conditionings, trace, notes, memory)
        self.ways, self.todo, self.watch, self.texts = ways, todo, watch, texts
        self.run: LookRun | None = None

    def make_run(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord) -> LookRun:
        self.run = LookRun(method, plan, record, self)
        return self.run


class LookRun(MethodRun):
    """found_early: pictures that were found on the way of a run that stays plain. predictions: those that the detector
    asks for, None where it looks at pictures alone."""

    def __init__(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord, setup: LookSetup) -> None:
        super().__init__(method, plan, record, setup.trace)
        self.found_early: list[int] = []
        self._ways, self._todo = setup.ways, list(setup.todo)
        self._level = record.level = setup.ways[setup.todo[0]].level
        self._at_level = plan.at_safety(self._level)
        levels = setup.ways[setup.todo[0]].levels
        self._first = plan.at_safety(levels[0]) if levels else self._at_level
        self._watch: Watch | None = setup.watch if self._level == PLAIN and levels else None
        self.predictions = PredictionWatch(list(setup.texts), plan, record) if setup.texts else None
        self._denoised: torch.Tensor | None = None

    def select_conds(self, conds: dict[str, CondEntries], guider: comfy.samplers.CFGGuider) -> dict[str, CondEntries]:
        if self.predictions is not None:
            self.predictions.start(conds)
        return super().select_conds(conds, guider)

    def _only(self, conds: dict[str, CondEntries]) -> str | None:
        super()._only(conds)  # for its error
        return None

    def predict(self, call: ModelCall) -> torch.Tensor:
        if self._watch is not None and self._first.weight(call.level) > 0.0:
            if self._denoised is not None:
                self._look(call, self._watch, self._denoised)
            self._watch = None  # where the first level steers from the first call on, there is nothing to look at yet
        self._denoised = super().predict(call if self.predictions is None else self.predictions.taking(call))
        if self.predictions is not None:
            self.predictions.look_late()
        return self._denoised

    def _predict_alone(self, call: ModelCall, name: str, pair: CondPair) -> torch.Tensor:
        if name == SAFE and pair[1] is not None and AGAINST in call.guider.conds:
            pair = with_negative(pair, call.guider.conds, AGAINST)
        return super()._predict_alone(call, name, pair)

    def check_guided(self) -> None:
        if self.predictions is not None and self.predictions.late is None:
            raise ValueError(
                "detector: expected a call of the model near the end of the run, for Safelight Model Presence to look "
                "at, got none. Use another sampler, or another detector."
            )
        if self._level > PLAIN:
            super().check_guided()

    def _weight(self, sigma: float) -> float:
        return self._at_level.weight(sigma)

    def _look(self, call: ModelCall, watch: Watch, denoised: torch.Tensor) -> None:
        run = None if self.predictions is None else self.predictions.predictions().of(self._todo)
        looks = watch(call, denoised[self._todo], run)
        found = [i for i, look in zip(self._todo, looks, strict=True) if self._ways[i].look_early(look)]
        if len(found) < len(self._todo) or self.harmless:
            self.found_early = found
            if len(found) == len(self._todo):
                raise FoundEarly
            return
        for i in found:
            self._ways[i].rise()
        self._level, self._at_level = self._ways[found[0]].level, self._first
        self.record.level = self._level
