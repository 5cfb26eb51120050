"""The record of a run: the weight of every call, and the rows of model evaluation."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from safelight.guidance.settings import GuidanceSettings

if TYPE_CHECKING:
    from safelight.engine.run_plan import RunPlan

# The version of the report, not of the pack. It goes up when a key changes its meaning.
REPORT_VERSION = 1

log = logging.getLogger("safelight")


class RunRecord:
    """Filled by a guider while it runs.

    rows: rows that the diffusion model evaluated. extra_rows: those of them that a stock run would not have needed;
        below 0 where one evaluation served what stock runs would have evaluated one by one.
    start_percent: where the guidance began in this run; None without a method.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.extra_rows = 0
        self.start_percent: float | None = None
        self.notes: list[str] = []
        self._calls: list[dict[str, float | None]] = []

    @property
    def plain_rows(self) -> int:
        """Rows that a stock run of the same calls would have evaluated."""
        return self.rows - self.extra_rows

    @property
    def weights(self) -> list[float]:
        """The weight of every call so far."""
        return [call["w"] or 0.0 for call in self._calls]

    @property
    def guided(self) -> bool:
        return any(call["w"] for call in self._calls)

    def note_plan(self, plan: RunPlan) -> None:
        self.start_percent = plan.start_percent
        self.notes += [*plan.settings.notes, *plan.notes]

    def note_call(self, sigma: float, progress: float | None, weight: float) -> None:
        """One call of the guider, at noise level sigma, with the weight that the method had in it."""
        self._calls.append({"sigma": sigma, "progress": progress, "w": weight})

    def log(self) -> None:
        """Writes the notes for the artist to the host's log."""
        for note in self.notes:
            log.info("Safelight: %s", note)

    def to_json(self, settings: GuidanceSettings, **more: Any) -> str:
        """The report. more: further entries."""
        return json.dumps(
            {
                "version": REPORT_VERSION,
                "safety": settings.safety,
                "risk": settings.risk,
                "gate": settings.gate,
                "gate_open": settings.gate_open,
                "context": self.start_percent,
                "schedule": settings.schedule.to_dict(),
                **more,
                "weights": self._calls,
                "rows": self.rows,
                "plain_rows": self.plain_rows,
                "notes": self.notes,
            }
        )
