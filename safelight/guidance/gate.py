"""The gate: a prompt whose risk is below it is left to the stock sampler."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

DEFAULT_GATE = 0.5


def is_open(risk: float, gate: float) -> bool:
    """Whether a prompt of this risk is guided. Both in [0, 1]; a risk equal to the gate is guided."""
    return not risk < gate


def read_risk(risk: Any) -> tuple[float, list[str]]:
    """The risk in [0, 1], and notes for the artist. Anything that is not such a number counts as 1 (fail closed)."""
    if isinstance(risk, Real) and math.isfinite(risk) and 0.0 <= float(risk) <= 1.0:
        return float(risk), []
    return 1.0, [f"risk {risk} is not a number from 0 to 1; it counts as 1."]
