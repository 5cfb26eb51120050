"""Pictures of how well a redaction fits: the learning curve of a network, or bars for a ridge map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from safelight.edits.redaction_network import Trained
from safelight.views.contact_sheet import INK, PAPER

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 20, 56, 40  # margins of the plot
_REDACT, _KEEP, _TRAIN, _GRID = (200, 38, 28), (40, 96, 168), (150, 150, 150), (222, 216, 208)
_TITLE = "distance to where held-out texts should be (1: redacted texts before)"
_DECADES = (1.0, 0.1, 0.01, 0.001)

Series = tuple[str, tuple[int, int, int], list[tuple[int, float]]]


def curve(trained: Trained) -> torch.Tensor:
    """The losses over the steps, [1, HEIGHT, WIDTH, 3] in [0, 1], with a mark at the best student."""
    points = trained.eval_points
    series: list[Series] = [
        ("training", _TRAIN, [(point.step, point.train) for point in points[1:]]),
        ("redacted", _REDACT, [(point.step, point.redact) for point in points]),
        ("kept", _KEEP, [(point.step, point.keep) for point in points]),
    ]
    image, draw = _sheet()
    last = max(points[-1].step, 1)

    def x(step: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * step / last

    best = points[trained.best]
    draw.line([(x(best.step), _TOP), (x(best.step), HEIGHT - _BOTTOM)], fill=_GRID, width=2)
    for _, colour, values in series:
        places = [(x(step), _y(value)) for step, value in values]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2, joint="curve")
    _legend(draw, [(name, colour) for name, colour, _ in series])
    _text(draw, (_LEFT, HEIGHT - _BOTTOM + 8), "0", "la")
    _text(draw, (WIDTH - _RIGHT, HEIGHT - _BOTTOM + 8), f"{points[-1].step} steps", "ra")
    note = f"best at {best.step}: redacted {best.redact:.2g}, kept {best.keep:.2g}"
    _text(draw, ((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - _BOTTOM + 8), note, "ma")
    return _picture(image)


def bars(keep: float, redact: float) -> torch.Tensor:
    """The losses as two bars, [1, HEIGHT, WIDTH, 3] in [0, 1]; a value that is not finite gets no bar."""
    image, draw = _sheet()
    for i, (name, colour, value) in enumerate((("redacted", _REDACT, redact), ("kept", _KEEP, keep))):
        middle = _LEFT + (WIDTH - _LEFT - _RIGHT) * (2 * i + 1) / 4
        if math.isfinite(value):
            draw.rectangle([middle - 60, _y(value), middle + 60, HEIGHT - _BOTTOM], fill=colour)
        shown = f"{name}: {value:.2g}" if math.isfinite(value) else f"{name}: too few texts to hold any out"
        _text(draw, (middle, HEIGHT - _BOTTOM + 8), shown, "ma")
    return _picture(image)


def _y(value: float) -> float:
    """Logarithmic, from a little above the first of _DECADES at the top to the last at the bottom."""
    place = math.log10(min(max(value, _DECADES[-1]), 2.0))
    high, low = math.log10(2.0), math.log10(_DECADES[-1])
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - place) / (high - low)


def _sheet() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(round(255 * part) for part in PAPER))
    draw = ImageDraw.Draw(image)
    _text(draw, (_LEFT, 8), _TITLE, "la")
    for value in _DECADES:
        draw.line([(_LEFT, _y(value)), (WIDTH - _RIGHT, _y(value))], fill=_GRID)
        _text(draw, (_LEFT - 8, _y(value)), f"{value:g}", "rm")
    return image, draw


def _legend(draw: ImageDraw.ImageDraw, entries: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    x = _LEFT
    for name, colour in entries:
        draw.line([(x, 40), (x + 20, 40)], fill=colour, width=3)
        _text(draw, (x + 26, 40), name, "lm")
        x += 120


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, anchor: str) -> None:
    ink = tuple(round(255 * part) for part in INK)
    draw.text(at, text, ink, ImageFont.load_default(14), anchor=anchor)


def _picture(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)[None]
