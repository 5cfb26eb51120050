"""The driver of every guidance method: one run of a guider, in whose place it predicts.

On each call of the model it asks the method (safelight/guidance) which predictions it needs, evaluates them in one
batched call, and applies the host's classifier-free guidance and hooks to what the method makes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from safelight.engine.branches import (
    CondEntries,
    CondPair,
    always_active,
    always_everywhere,
    any_active,
    branch,
    covered,
    is_active,
    positive_pair,
    safe_pair,
    tag_branch,
)
from safelight.engine.cond_batch import (
    ModelCall,
    StepCaches,
    apply_cfg,
    calc_denoised,
    may_bring_words,
    predict_aside,
    predict_stock,
)
from safelight.engine.run_plan import RunPlan
from safelight.engine.run_record import LEFT_AS_WRITTEN, Movement, RunRecord
from safelight.guidance.blend import NEGATIVE, POSITIVE, SAFE
from safelight.guidance.method import EMPTY, GuidanceMethod, Step
from safelight.guidance.progress import step_of
from safelight.text.inherit import HARMLESS, inherit
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Hashable

    import comfy.samplers


class MethodRun:
    """One run of a guider: predicts in its place, and records what it did.

    forced: None, or the conditioning ("positive" or "safe") that alone decides, or a weight in the plan's stead.
    only: the one conditioning that the host got, where every call has the weight 0 or 1; else None.
    harmless: whether the safe prompt is the prompt as written, since nothing unsafe was found in it.
    """

    def __init__(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord, trace: Trace) -> None:
        self.method = method
        self.plan = plan
        self.record = record
        self.trace = trace
        self.forced: str | float | None = None
        self.only: str | None = None
        self.harmless = False
        self._reach_checked = False
        # Whether a call with the safe prompt alone may show what the positive one does, as where a patch on the model
        # brings words of its own: the first such call is compared with it.
        self._doubted, self._replaces = False, True
        self._caches = StepCaches()

    def start(self, latents: torch.Tensor) -> None:
        """The run begins with these latents, [B, C, ...]."""
        self.method.shape = getattr(latents, "shape", None)

    def select_conds(self, conds: dict[str, CondEntries], guider: comfy.samplers.CFGGuider) -> dict[str, CondEntries]:
        """The conditionings that the host gets for the guider's run, out of all that there are, converted.

        Where every call has the same weight, 0 or 1, the one of positive and safe that is not used is left out, unless
        something on the model may have words of its own.
        Raises ValueError where that would leave a picture without any guidance.
        """
        self._check_conds(conds)
        conds = self._with_negative(conds)
        self.only = POSITIVE if self.harmless else self._only(conds)
        self._doubted = may_bring_words(guider, guider.model_options, conds.values())
        if self.only == SAFE and self._doubted:
            self.only = None
        if self.only is None:
            return tag_branch(conds)
        return tag_branch({**{key: conds[key] for key in conds if key != SAFE}, POSITIVE: conds[self.only]})

    def _check_conds(self, conds: dict[str, CondEntries]) -> None:
        missing = {POSITIVE, *self.method.conds} - {EMPTY, self.method.replaces_negative} - conds.keys()
        if missing:
            raise ValueError(
                f"{SAFE if SAFE in missing else 'clip'}: expected the conditionings that this guider was made with, "
                "got a copy of it without them (a node that sets its own on every tile or region does that), so nothing"
                " would be guarded. Use a Safelight Model Patch and the host's CFGGuider there."
            )
        self.harmless = SAFE in conds and all(entry.get(HARMLESS, False) for entry in conds[SAFE])
        self.record.harmless = self.harmless
        if self.harmless:
            self.record.notes.append(LEFT_AS_WRITTEN)

    def _with_negative(self, conds: dict[str, CondEntries]) -> dict[str, CondEntries]:
        """`conds` with the negative that the method wants."""
        conds = dict(conds)
        negative = conds.get(NEGATIVE)
        instead = conds.pop(self.method.replaces_negative or "", None)
        if negative is not None:
            conds.pop(EMPTY, None)
            if instead is not None:
                inherited = inherit([[None, entry] for entry in instead], [[None, entry] for entry in negative])
                conds[NEGATIVE] = [entry for _, entry in inherited]
        return conds

    def _only(self, conds: dict[str, CondEntries]) -> str | None:
        name = self.method.only(self.plan.constant, self.plan.ends_in_picture)
        # Where an entry is inactive, the other prompt takes its place, so the host needs both.
        enough = {POSITIVE: always_active, SAFE: always_everywhere}
        return name if name is not None and enough[name](conds[name]) else None

    def predict(self, call: ModelCall) -> torch.Tensor:
        """Stands for CFGGuider.predict_noise."""
        conds = call.guider.conds
        uncond_applies = self._uncond_applies(call)
        self.method.check_uncond(uncond_applies)
        if self.only is not None:
            return self._predict_alone(call, self.only, (conds[POSITIVE], conds.get(NEGATIVE)))

        branches = self._branches(call)
        self._check_reach(branches, call)

        step = self._step(call, branches)
        needs = self.method.needs(step)
        if needs.alone:
            (name,) = needs.conds
            return self._predict_alone(call, name, safe_pair(conds) if name == SAFE else positive_pair(conds))
        self._begin_call(call, needs.conds, step.weight)
        wants_uncond = uncond_applies or NEGATIVE in needs.conds
        first, *others = (name for name in needs.conds if name != NEGATIVE)
        evaluated = [branches[first], branches[NEGATIVE] if wants_uncond else None, *(branches[n] for n in others)]
        plain = (0, 1) if uncond_applies or not wants_uncond else (0,)
        predictions = calc_denoised(call, evaluated, self.record, plain)
        denoised = dict(zip((first, NEGATIVE, *others), predictions, strict=True))

        guided = self.method.combine(step, denoised)
        if step.weight:
            self._note_move(guided.cond, guided.positive)
        if guided.note and guided.note not in self.record.notes:
            self.record.notes.append(guided.note)
        change = call.guider.cfg * (guided.cond - guided.positive) if step.weight else None
        self.trace.add(call.level, self.plan.progress(call.level), change, step.weight)
        # As a stock run has it: without a negative, zeros for its prediction.
        denoised_uncond = denoised[NEGATIVE] if uncond_applies else torch.zeros_like(call.x)
        pair = branches[guided.shown], branches[NEGATIVE] if uncond_applies else None
        return apply_cfg(call, pair, guided.cond, denoised_uncond)

    def check_guided(self) -> None:
        """Raises ValueError where a picture came out of a run that had to be guided and was not."""
        if not self.plan.ends_in_picture or self.harmless:
            return
        if not self.record.guided:
            raise ValueError(self.method.unguided)
        if self.method.unmoved and not self.record.movement.beyond(self.method.rounding):
            raise ValueError(self.method.unmoved)

    @staticmethod
    def _uncond_applies(call: ModelCall) -> bool:
        return call.guider.conds.get(NEGATIVE) is not None and not call.drops_negative

    def _branches(self, call: ModelCall) -> dict[str, CondEntries]:
        """The entries of every conditioning that the method may ask for, and the negative's."""
        conds = call.guider.conds
        branches = {POSITIVE: positive_pair(conds)[0]}
        branches |= {name: branch(conds, name) for name in self.method.conds if name in conds}
        negative = conds.get(NEGATIVE) if self.method.pairs_uncond else positive_pair(conds)[1]
        branches[NEGATIVE] = branches.pop(EMPTY, []) if negative is None else negative
        return branches

    def _step(self, call: ModelCall, branches: dict[str, CondEntries]) -> Step:
        sigma, negative, uncond_applies = call.sigma[0], branches[NEGATIVE], self._uncond_applies(call)
        reaches: dict[str, torch.Tensor | None] = {}

        def reach(name: str) -> torch.Tensor | None:
            if name not in reaches:
                reaches[name] = covered(branches[name], call.x, call.sigma)
            return reaches[name]

        def active_entries() -> Hashable:
            counted = [entries for name, entries in branches.items() if uncond_applies or name != NEGATIVE]
            return tuple(is_active(entry, sigma) for entries in counted for entry in entries)

        active = frozenset(name for name, entries in branches.items() if any_active(entries, sigma))
        return Step(
            call.x,
            call.sigma,
            self.method.strength * self._weight(call.level),
            step_of(call.level, self.plan.sigmas),
            active,
            uncond_applies and any_active(negative, sigma),
            reach,
            active_entries,
        )

    def _predict_alone(self, call: ModelCall, name: str, pair: CondPair) -> torch.Tensor:
        """The host's own prediction for a pair of conditionings, `name` being the conditional one."""
        weight = self._weight_alone(call) if name == SAFE else 0.0
        self._begin_call(call, (name,), weight)
        plain = None
        if weight and self._doubted:
            plain, self._doubted = predict_aside(call, positive_pair(call.guider.conds), self.record), False
        denoised = self._predict_pair(call, name, pair)
        if plain is not None:
            compared = Movement()
            compared.add(denoised, plain)
            self._replaces = compared.beyond(self.method.rounding)
        if weight and self._replaces:
            self._note_replaced()
        if name == SAFE:
            self.trace.safe_alone(call.level, self.plan.progress(call.level), denoised, weight)
        else:
            self.trace.positive_alone(call.level, self.plan.progress(call.level), denoised)
        return denoised

    def _weight_alone(self, call: ModelCall) -> float:
        """The weight of a call that the safe prompt decides."""
        return 1.0

    def _predict_pair(self, call: ModelCall, name: str, pair: CondPair) -> torch.Tensor:
        return predict_stock(call, pair)

    def _begin_call(self, call: ModelCall, conds: tuple[str, ...], weight: float) -> None:
        """Notes a call with these conditionings."""
        self._caches.expect(conds, call)
        self.record.note_call(call.level, self.plan.progress(call.level), weight)

    def _note_move(self, guided: torch.Tensor, positive: torch.Tensor) -> None:
        self.record.movement.add(guided, positive)

    def _note_replaced(self) -> None:
        self.record.movement.replaced += 1

    def _weight(self, sigma: float) -> float:
        if self.forced is None:
            return self.plan.weight(sigma)
        return {POSITIVE: 0.0, SAFE: 1.0}[self.forced] if isinstance(self.forced, str) else self.forced

    def _check_reach(self, branches: dict[str, CondEntries], call: ModelCall) -> None:
        """A conditioning that no guarded step would ever see is an error before the first step, not after."""
        name, checked, self._reach_checked = self.method.must_reach, self._reach_checked, True
        if checked or name is None or not self.plan.ends_in_picture or self.forced is not None:
            return
        entries, why = branches[name], self.method.unreached
        for sigma in self.plan.sigmas[:-1]:
            weight, at = self.plan.weight(sigma), torch.full_like(call.sigma, sigma)
            if weight > 0.0 and any_active(entries, at[0]):
                why = self.method.why_nowhere(call.x, covered(entries, call.x, at), weight)
                if not why:
                    return
        raise ValueError(why)
