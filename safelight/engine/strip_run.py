"""One sampler run over the frames of a strip: equal noise, equal prompts, another weight for each frame.

At each call of the model the frames are sorted into those that the positive prompt decides, those that the safe one
decides, and the rest; equal frames are evaluated once. Each group is one call of the dual blend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from safelight.engine import host
from safelight.engine.branches import CondEntries, any_active, positive_pair, tag_branch
from safelight.engine.cond_batch import ModelCall, may_bring_words
from safelight.engine.method_run import MethodRun
from safelight.engine.method_setup import MethodSetup, marked, safe_conditionings
from safelight.engine.run_plan import RunPlan
from safelight.engine.run_record import Movement, RunRecord
from safelight.engine.shared_rows import SharedRows
from safelight.guidance.blend import POSITIVE, SAFE
from safelight.guidance.economy import BOTH
from safelight.guidance.economy import OFF as NO_ECONOMY
from safelight.guidance.frames import FramesBlend
from safelight.guidance.method import GuidanceMethod, Needs
from safelight.guidance.settings import GuidanceSettings
from safelight.text.conditioning import Conditioning
from safelight.views.contact_sheet import alike
from safelight.views.trace import NoTrace

if TYPE_CHECKING:
    import comfy.samplers

OFF = "off"  # the kind of frames that the stock prediction serves


class StripSetup(MethodSetup):
    """The dual blend at several levels. settings: at the highest of them. run: the last one."""

    def __init__(self, settings: GuidanceSettings, safe: Conditioning, levels: Sequence[float]) -> None:
        conditionings, notes = safe_conditionings(marked(safe, settings))
        # Where levels part, what one evaluated answers for others; the last bits show that, so it goes with economy.
        memory = None if settings.economy == NO_ECONOMY else SharedRows()
        super().__init__(
            "Safelight", lambda: FramesBlend(settings, len(levels)), conditionings, NoTrace(), notes, memory
        )
        self.levels = levels
        self.run: StripRun | None = None

    def make_run(self, method: GuidanceMethod, plan: RunPlan, record: RunRecord) -> StripRun:
        plans = [plan.at_safety(level) for level in self.levels]
        record.notes += [
            f"level {level:g}: {note}"
            for level, level_plan in zip(self.levels, plans, strict=True)
            for note in level_plan.notes
            if note not in plan.notes
        ]
        self.run = StripRun(FrameGroup(method, plan, record, self.trace), plans, self.memory is not None)
        return self.run


class FrameGroup(MethodRun):
    """Frames of a strip that one call of the model serves.

    acted: the weights that the last call had. moves: for each of its frames, what Movement.add takes. replaces: whether
    the safe prompt alone decided it.
    """

    method: FramesBlend
    acted: Sequence[float] = ()
    moves: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()
    replaces = False

    def kind(self, weight: float) -> str:
        """Frames of one kind can be evaluated together."""
        if weight == 0.0:
            return POSITIVE
        everywhere = self.plan.settings.mask is None and self.plan.settings.selective is None
        return SAFE if weight == 1.0 and everywhere else "both"

    def choose(self, call: ModelCall, number: int, weight: float) -> Needs:
        """With economy the kind of the frame of this number, which `call` is of alone; to be asked once a call."""
        self.method.weights, self.method.pictures = [weight], call.x.shape[0]
        return self.method.choose(number, self._step(call, self._branches(call)))

    def predict_frames(
        self, call: ModelCall, weights: Sequence[float], kind: str | Needs, alike: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """The prediction for frames with these weights; kind: theirs, or OFF for the stock prediction. alike: for each
        frame the numbers of those that are equal."""
        self.method.weights, self.method.pictures = weights, call.x.shape[0] // len(weights)
        self.method.chosen, self.method.alike = kind if isinstance(kind, Needs) else None, alike
        if kind == OFF:
            return self._predict_alone(call, POSITIVE, positive_pair(call.guider.conds))
        return self.predict(call)

    def _weight(self, sigma: float) -> float:
        return max(self.method.weights)

    def _note_move(self, guided: torch.Tensor, positive: torch.Tensor) -> None:
        frames = len(self.method.weights)
        self.moves = list(zip(guided.chunk(frames), positive.chunk(frames), strict=True))

    def _note_replaced(self) -> None:
        self.replaces = True

    def doubt(self, guider: comfy.samplers.CFGGuider, conds: dict[str, CondEntries]) -> None:
        """The guider's run starts with these conditionings."""
        self._doubted = may_bring_words(guider, guider.model_options, conds.values())

    def _begin_call(self, call: ModelCall, conds: tuple[str, ...], weight: float) -> None:
        self._caches.expect(conds, call)
        self.moves, self.replaces = (), False
        chosen = self.method.chosen
        both = conds == BOTH if chosen is None else not chosen.alone
        self.acted = self.method.weights if both else [weight] * len(self.method.weights)


class StripRun(MethodRun):
    """One run of a guider over frames, which are equal parts of the batch.

    plans: of each frame's level. shares: whether frames share rows, with economy. weights: for each frame the weight of
    every call so far. movements: of each frame. The record has the calls of the highest level, and as plain rows those
    of a stock run of all frames.
    """

    def __init__(self, group: FrameGroup, plans: Sequence[RunPlan], shares: bool) -> None:
        super().__init__(group.method, group.plan, group.record, group.trace)
        self.plans = plans
        self.levels = [plan.settings.safety for plan in plans]
        self.weights: list[list[float]] = [[] for _ in plans]
        self.movements = [Movement() for _ in plans]
        self._frames_at_once = len(plans)
        self._group, self._shares = group, shares

    def start(self, latents: torch.Tensor) -> None:
        super().start(latents)
        if self.method.shape is not None:
            pictures, *rest = self.method.shape
            self.method.shape = torch.Size([pictures // len(self.levels), *rest])

    def select_conds(self, conds: dict[str, CondEntries], guider: comfy.samplers.CFGGuider) -> dict[str, CondEntries]:
        self._check_conds(conds)
        if not self.harmless:
            self._only(conds)  # for its error, in the words of a single run
        self._group.doubt(guider, conds)
        self.record.movement = self.movements[self.levels.index(max(self.levels))]
        return tag_branch(conds)

    def predict(self, call: ModelCall) -> torch.Tensor:
        frames, sigmas = call.x.chunk(len(self.levels)), call.sigma.chunk(len(self.levels))
        weights = [0.0 if self.harmless else plan.weight(call.level) for plan in self.plans]
        # In a step outside the positive prompt's range the safe one takes its place, at every level but 0.
        positive_active = any_active(positive_pair(call.guider.conds)[0], call.sigma[0])
        kinds: list[str | Needs] = [
            OFF if (level == 0.0 or self.harmless) and not positive_active else self._group.kind(weight)
            for level, weight in zip(self.levels, weights, strict=True)
        ]
        if self._shares:
            for i, kind in enumerate(kinds):
                if kind != OFF:
                    kinds[i] = self._group.choose(replace(call, x=frames[i], sigma=sigmas[i]), i, weights[i])
        classes = alike(frames, list(zip(kinds, weights, strict=True)))
        denoised: list[torch.Tensor] = [call.x] * len(frames)
        acted: list[float] = [0.0] * len(frames)

        def predict_classes(some: list[list[int]]) -> None:
            first = [same[0] for same in some]
            part = replace(call, x=torch.cat([frames[i] for i in first]), sigma=torch.cat([sigmas[i] for i in first]))
            plain_rows = self.record.plain_rows
            predicted = self._group.predict_frames(part, [weights[i] for i in first], kinds[first[0]], some)
            frames_per_class = sum(map(len, some)) / len(some)
            stock_rows = round((self.record.plain_rows - plain_rows) * frames_per_class)
            self.record.extra_rows = self.record.asked_rows - plain_rows - stock_rows
            moves: Sequence[tuple[torch.Tensor, torch.Tensor] | None] = self._group.moves or [None] * len(some)
            for same, frame, weight, move in zip(
                some, predicted.chunk(len(some)), self._group.acted, moves, strict=True
            ):
                for i in same:
                    denoised[i], acted[i] = frame, weight
                    if weight and move is not None:
                        self.movements[i].add(*move)
                    elif weight and self._group.replaces:
                        self.movements[i].replaced += 1

        # Those that need both prompts come first: they know what the others need where these are equal to them.
        for kind in sorted(dict.fromkeys(kinds), key=lambda kind: kind != Needs(BOTH)):
            self._in_parts(predict_classes, [same for same in classes if kinds[same[0]] == kind])
        for taken, weight in zip(self.weights, acted, strict=True):
            taken.append(weight)
        highest = acted[self.levels.index(max(self.levels))]
        self.record.note_call(call.level, self.plan.progress(call.level), highest)
        return torch.cat(denoised)

    def check_guided(self) -> None:
        if self.harmless or not self.plan.ends_in_picture:
            return
        for level, weights, movement in zip(self.levels, self.weights, self.movements, strict=True):
            if level > 0.0 and not any(weights):
                raise ValueError(self.method.unguided)
            if level > 0.0 and not movement.beyond(self.method.rounding):
                raise ValueError(self.method.unmoved)

    def _in_parts(self, predict_classes: Callable[[list[list[int]]], None], classes: list[list[int]]) -> None:
        """Calls of at most as many frames as memory has been enough for; where it is not, of half as many."""
        done = 0
        while done < len(classes):
            some = classes[done : done + self._frames_at_once]
            record = self.record
            before = record.counts
            try:
                predict_classes(some)
            except Exception as error:
                if len(some) == 1 or not host.is_out_of_memory(error):
                    raise
            else:
                done += len(some)
                continue
            # Outside of the handler, so that nothing holds what the failed call has allocated.
            record.counts = before
            self._frames_at_once = (len(some) + 1) // 2
            record.notes.append(
                f"memory ran out with {len(some)} frames at once: {self._frames_at_once} at most since."
            )
            host.free_cache()
