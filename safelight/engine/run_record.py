"""What a run did, as a studio logs it: the weight of every call, and the rows of model evaluation."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from nodes.inputs import Guidance

if TYPE_CHECKING:
    from safelight.engine.run_plan import RunPlan

# Of the report's form, not of the pack: raised when a key changes its meaning.
REPORT_VERSION = 1

log = logging.getLogger("safelight")


class RunRecord:
    """Filled by a guider while it runs.

    rows: rows that the diffusion model evaluated. extra_rows: those of them that a stock run would not have needed;
        below 0 where one evaluation served what stock runs would have evaluated one by one.
    context: the schedule's context as this run used it, None where nothing was guided.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.extra_rows = 0
        self.context: float | None = None
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

    def plan(self, plan: RunPlan) -> None:
        self.context = plan.context
        self.notes += [*plan.guidance.notes, *plan.notes]

    def call(self, sigma: float, progress: float | None, weight: float) -> None:
        """One call of the guider, at noise level sigma, with the weight that the safe branch had in it."""
        self._calls.append({"sigma": sigma, "progress": progress, "w": weight})

    def log(self) -> None:
        """Says in the host's log what the artist should know."""
        for note in self.notes:
            log.info("Safelight: %s", note)

    def to_json(self, guidance: Guidance, **more: Any) -> str:
        """The report. more: further entries."""
        return json.dumps({
            "version": REPORT_VERSION,
            "safety": guidance.safety,
            "risk": guidance.risk,
            "gate": guidance.gate,
            "gate_open": guidance.gate_open,
            "context": self.context,
            "schedule": guidance.schedule.to_dict(),
            **more,
            "weights": self._calls,
            "rows": self.rows,
            "plain_rows": self.plain_rows,
            "notes": self.notes,
        })  # fmt: skip
