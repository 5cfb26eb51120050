"""Numbers that an artist gave, read and checked."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any


def unit_number(name: str, value: Any) -> float:
    """`value` as a float in [0, 1]. Raises ValueError, naming the input, for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name}: expected a number from 0 to 1, got {shortened(value)}. Give a number in that range.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number from 0 to 1, got {number}. Give a number in that range.")
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {number:g}. Give a number in that range.")
    return number + 0.0  # -0.0 becomes 0.0


def strength_number(strength: Any, maximum: float) -> float:
    """A method's strength as a float in [0, maximum]. Raises ValueError for anything else."""
    is_number = isinstance(strength, Real) and not isinstance(strength, bool)
    if not is_number or not 0.0 <= strength <= maximum:  # true for NaN too
        raise ValueError(
            f"strength: expected a number from 0 to {maximum:g}, got {strength!r}. Give a number in that range."
        )
    return float(strength)


def shortened(value: Any, limit: int = 80) -> str:
    """The value as Python writes it, cut to `limit` characters, for error texts."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def required_text(name: str, text: Any) -> str:
    """The text without spaces around it. Raises ValueError, naming the input, where there is none."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"{name}: expected a text, got {shortened(text)}, so nothing could be guided away from. Say what is "
            "unsafe, or set strength to 0."
        )
    return text.strip()
