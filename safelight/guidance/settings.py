"""What the artist set for a guided run, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from safelight.checks import unit_number
from safelight.guidance import gate as gates
from safelight.guidance.economy import MODES, OFF
from safelight.guidance.mask import read_mask
from safelight.guidance.schedule import DEFAULT_PRESET, LOOKING, PRESETS, WeightSchedule
from safelight.guidance.selective import Selection

LEAST_SAFETY = 1e-5  # the weight is sqrt(safety) at most: just above LEAST_WEIGHT


@dataclass(frozen=True)
class ServerRule:
    """What a server's owner made of a workflow's inputs (safelight/studio/policy.py).

    asked_safety, asked_gate: as the workflow has them. least: no call's weight is below that of these, None where the
    settings themselves see to that.
    """

    least_safety: float
    asked_safety: float
    asked_gate: float
    least: GuidanceSettings | None = None

    def to_dict(self) -> dict[str, float]:
        """For the report."""
        return {key: getattr(self, key) for key in ("least_safety", "asked_safety", "asked_gate")}


@dataclass(frozen=True)
class GuidanceSettings:
    """safety, risk, gate: numbers in [0, 1]. schedule: the weight along the run.

    mask: [N, H, W] in [0, 1], or None where the whole picture is guided. notes: what the artist should know.
    selective: how the guided cells are chosen, None for all of them. economy: one of safelight.guidance.economy.MODES.
    server: what the server's owner asked for, None where there is nothing.
    """

    safety: float
    schedule: WeightSchedule
    risk: float = 1.0
    gate: float = gates.DEFAULT_GATE
    mask: torch.Tensor | None = None
    notes: tuple[str, ...] = ()
    selective: Selection | None = None
    economy: str = OFF
    server: ServerRule | None = None

    @property
    def gate_open(self) -> bool:
        return gates.is_open(self.risk, self.gate)

    @property
    def text_harmless(self) -> bool:
        """Whether the prompt is harmless by the workflow's gate, so that its safe counterpart may be the prompt itself;
        the gate of a server's owner may be open even so."""
        return not gates.is_open(self.risk, self.gate if self.server is None else self.server.asked_gate)

    @property
    def acts(self) -> bool:
        """Whether the run is guided at all; if not, it is the stock sampler's."""
        return self.safety > 0.0 and self.gate_open

    @property
    def why_stock(self) -> str:
        """Why the stock sampler runs, for the report."""
        if self.safety == 0.0:
            return "safety is 0: the stock sampler ran."
        return f"the gate is closed, risk {self.risk:g} is below {self.gate:g}: the stock sampler ran."


def read_settings(
    safety: Any,
    schedule: Any = None,
    risk: Any = 1.0,
    gate: Any = gates.DEFAULT_GATE,
    mask: Any = None,
    selective: Any = None,
    economy: Any = OFF,
    looks: bool = False,
) -> GuidanceSettings:
    """The guiding inputs of a node. Raises ValueError, naming the input, for what cannot be read.

    looks: whether the node has a detector, which has a schedule of its own where none is linked, and may open a closed
        gate. `mask`, `selective` and `economy` are only looked at where the guidance acts, or may act so.
    """
    if schedule is None:
        schedule = LOOKING if looks else PRESETS[DEFAULT_PRESET]
    elif not isinstance(schedule, WeightSchedule):
        try:
            schedule = WeightSchedule.from_value(schedule)
        except ValueError as error:
            raise ValueError(f"schedule: expected a Safelight Weight Schedule. Connect one here. {error}") from error
    risk, notes = gates.read_risk(risk)
    safety = unit_number("safety", safety)
    if 0.0 < safety < LEAST_SAFETY:
        raise ValueError(
            f"safety: expected 0 or at least {LEAST_SAFETY:g}, got {safety:g}, which is too small to act. Raise it, or "
            "set it to 0."
        )
    settings = GuidanceSettings(safety, schedule, risk, unit_number("gate", gate), None, tuple(notes))
    if not settings.acts and not (looks and safety > 0.0):
        return settings
    if selective is not None and not isinstance(selective, Selection):
        raise ValueError(
            f"selective: expected a Safelight Selective, got {type(selective).__name__}. Connect one or leave it empty."
        )
    if economy not in MODES:
        raise ValueError(f"economy: unknown mode {economy!r}. Use one of {', '.join(MODES)}.")
    return replace(settings, mask=None if mask is None else read_mask(mask), selective=selective, economy=economy)
