"""Numbers that an artist gave, read and checked."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

# What check_links expects of an input.
_LINKED = {
    "model": "a MODEL",
    "positive": "a CONDITIONING",
    "negative": "a CONDITIONING",
    "noise": "a NOISE",
    "sampler": "a SAMPLER",
    "sigmas": "SIGMAS",
    "latent_image": "a LATENT",
    "image": "an IMAGE",
    "images": "an IMAGE",
    "detector": "a detector, such as Safelight NudeNet",
    "detector_1": "a detector, such as Safelight NudeNet",
    "clip": "a CLIP",
    "clip_vision": "a CLIP_VISION",
    "vae": "a VAE",
    "trace": "the trace of a Safelight sampler, guider or model patch",
}


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


def check_links(**links: Any) -> None:
    """Raises ValueError, naming the input, for a link that gives None, as a switch with nothing behind it does."""
    for name, value in links.items():
        if value is None:
            raise ValueError(f"{name}: expected {_LINKED[name]}, got nothing from what is linked. Link another one.")


def check_texts(**texts: Any) -> None:
    """Raises ValueError, naming the input, for anything but a text."""
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name}: expected a text, got {shortened(text)}. Write the text or link one.")


def check_numbers(**numbers: Any) -> None:
    """Raises ValueError, naming the input, for anything but a finite number."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
            raise ValueError(f"{name}: expected a finite number, got {shortened(number)}. Give such a number.")


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
