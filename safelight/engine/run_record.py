"""The record of a run: the weight of every call, how far the prediction moved, and the rows of model evaluation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from safelight.guidance.settings import GuidanceSettings

if TYPE_CHECKING:
    from safelight.engine.run_plan import RunPlan

# The report's, not the pack's. It goes up when a key changes its meaning.
FORMAT = 2

LEFT_AS_WRITTEN = "nothing unsafe was found in the prompt: the stock sampler ran."

log = logging.getLogger("safelight")


class Movement:
    """How far the guided calls moved the prediction of the prompt as written.

    replaced: the calls that another prompt decided alone, so that there was no prediction to move. valued: those that
        took only their values from it.
    """

    def __init__(self) -> None:
        self.replaced = 0
        self.valued = 0
        self._sums: torch.Tensor | None = None  # [2, B], over the calls: of the squares of the change, of the whole

    def add(self, guided: torch.Tensor, positive: torch.Tensor) -> None:
        """A call's prediction and what it would be without guidance, [B, C, ...], before CFG."""
        sums = torch.stack([each.float().square().flatten(1).mean(dim=1) for each in (guided - positive, positive)])
        if self._sums is None or self._sums.shape != sums.shape:  # or tiles of another number
            self._sums = sums
        else:
            self._sums = self._sums + sums

    def take(self, other: Movement, pictures: Sequence[int]) -> None:
        """Of these pictures what another run did."""
        self.replaced += other.replaced
        self.valued += other.valued
        known = self._sums if other._sums is None else other._sums
        if known is None:
            return
        rest = known.new_tensor([[0.0], [1.0]])
        if self._sums is None:
            self._sums = rest.expand_as(known).clone()
        self._sums[:, pictures] = rest if other._sums is None else other._sums[:, pictures]

    @property
    def shares(self) -> list[float]:
        """By picture, the root mean square of the change as a share of the prediction's; empty without such a call."""
        if self._sums is None:
            return []
        moved, whole = self._sums
        return (moved / whole.clamp_min(1e-12)).sqrt().tolist()

    def beyond(self, least: float) -> bool:
        """Whether a picture was moved by more than this share, or drawn by another prompt."""
        return self.replaced + self.valued > 0 or any(not share <= least for share in self.shares)  # NaN is no rest

    def __str__(self) -> str:
        shares = [f"{100 * share:.3g}" for share in self.shares]
        moved = f"moved the prediction by {', '.join(shares)} %" if shares else ""
        alone = f"the safe prompt alone decided {self.replaced} calls" if self.replaced else ""
        valued = f"{self.valued} calls took their values from the safe prompt" if self.valued else ""
        return "; ".join(part for part in (moved, alone, valued) if part)

    def to_dict(self) -> dict[str, Any]:
        moved = [float(f"{share:.4g}") for share in self.shares]
        return {"moved": moved, "replaced": self.replaced, "valued": self.valued}


class RunRecord:
    """Filled by a guider while it runs.

    rows: rows that the diffusion model evaluated. remembered_rows: those that were answered from memory instead.
    extra_rows: those of both that a stock run would not have needed; below 0 where one evaluation served what stock
        runs would have evaluated one by one.
    memory: how far calls are remembered, or why they can't be.
    look_rows: those of the extra ones that a detector asked for.
    movement: of the guided calls. harmless: whether the prompt was left as written, since nothing unsafe is in it.
    start_percent: where the guidance began in this run; None without a method.
    level: the place on the slider at which the run samples; None without a method. on_call: told progress and
        weight of each call.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.remembered_rows = 0
        self.memory = "off"
        self.extra_rows = 0
        self.look_rows = 0
        self.start_percent: float | None = None
        self.level: float | None = None
        self.on_call: Callable[[float | None, float], None] | None = None
        self.notes: list[str] = []
        self.movement = Movement()
        self.harmless = False
        self._calls: list[dict[str, float | None]] = []

    @property
    def asked_rows(self) -> int:
        """Rows that the run needed, wherever they came from."""
        return self.rows + self.remembered_rows

    @property
    def plain_rows(self) -> int:
        """Rows that a stock run of the same calls would have evaluated."""
        return self.asked_rows - self.extra_rows

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows, remembered ones and extra ones; to be set where a part of the run did not count, or ran elsewhere."""
        return self.rows, self.remembered_rows, self.extra_rows

    @counts.setter
    def counts(self, counts: Sequence[int]) -> None:
        self.rows, self.remembered_rows, self.extra_rows = counts

    @property
    def weights(self) -> list[float]:
        """The weight of every call so far."""
        return [call["w"] or 0.0 for call in self._calls]

    @property
    def guided(self) -> bool:
        return any(call["w"] for call in self._calls)

    def note_plan(self, plan: RunPlan) -> None:
        self.start_percent, self.level = plan.begins, plan.settings.safety
        self.notes += [*plan.settings.notes, *plan.notes]

    def note_call(self, sigma: float, progress: float | None, weight: float) -> None:
        """One call of the guider, at noise level sigma, with the weight that the method had in it."""
        self._calls.append({"sigma": sigma, "progress": progress, "w": weight})
        if self.on_call is not None:
            self.on_call(progress, weight)

    def note_look(self, rows: int, extra_rows: int) -> None:
        """A detector's rows were asked for; before them the record had these."""
        self.look_rows += self.asked_rows - rows
        self.extra_rows = extra_rows + self.asked_rows - rows

    def add_work(self, other: RunRecord) -> None:
        """The rows of another run count here too."""
        self.rows += other.rows
        self.remembered_rows += other.remembered_rows
        self.look_rows += other.look_rows
        self.memory = other.memory

    def take_calls(self, other: RunRecord, pictures: Sequence[int]) -> None:
        """The calls are those of another run, and what they did to these pictures."""
        self._calls, self.start_percent, self.harmless = other._calls, other.start_percent, other.harmless
        self.movement.take(other.movement, pictures)

    def log(self) -> None:
        """Writes the notes for the artist, how far the run moved, and what was remembered to the host's log."""
        known = f"{self.remembered_rows} of {self.asked_rows} rows were remembered" if self.remembered_rows else ""
        for line in (*self.notes, str(self.movement), known):
            if line:
                log.info("Safelight: %s", line)

    def to_json(self, settings: GuidanceSettings, **more: Any) -> str:
        """The report. more: further entries."""
        if settings.server is not None:
            more["server"] = settings.server.to_dict()
        return json.dumps(
            {
                "format": FORMAT,
                "safety": settings.safety,
                "risk": settings.risk,
                "gate": settings.gate,
                "gate_open": settings.gate_open,
                "harmless": self.harmless,
                "context": self.start_percent,
                "schedule": settings.schedule.to_dict(),
                **more,
                "weights": self._calls,
                **self.movement.to_dict(),
                "rows": self.rows,
                "remembered_rows": self.remembered_rows,
                "memory": self.memory,
                "plain_rows": self.plain_rows,
                "notes": self.notes,
            }
        )
