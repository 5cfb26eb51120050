"""Writes curves.json, the table of curve values that the Python and the JavaScript evaluation are both held to.

    python tests/vectors/make_curves.py

It shares no code with either: decimals of 40 digits, and the monotone cubic in Bezier form instead of Hermite's.
Each case: points, interpolation, samples as [progress, height].
"""

from __future__ import annotations

import json
import random
from decimal import Decimal, getcontext
from pathlib import Path

getcontext().prec = 40
SHAPES = 74
STRUCTURED = [
    [(0, 1), (1, 1)],
    [(0, 0), (1, 1)],
    [(0, 1), (1, 0)],
    [(0.2, 0.2), (0.6, 1), (1, 0.2)],
    [(0.3, 0.7), (0.31, 0.1)],
    [(0, 0), (0.5, 0), (0.5001, 1), (1, 1)],
    [(0, 0), (0.25, 0.5), (0.5, 0.5), (0.75, 0.5), (1, 1)],
    [(0, 0), (0.01, 0.9), (1, 1)],
    [(0, 1), (0.99, 0.9), (1, 0)],
    [(0.1, 0), (0.2, 1), (0.3, 0), (0.4, 1), (0.5, 0)],
    [(0, 0), (0.5, 0.15), (1, 0.87)],  # tangents just outside the circle of radius 3
    [(0, 0), (0.5, 5e-324), (1, 1)],  # the least number above 0, by which nothing can be divided
    [(0, 1), (0.5, 1e-310), (1, 0)],
]


def tangents(points: list[tuple[Decimal, Decimal]]) -> list[Decimal]:
    """Fritsch and Carlson 1980: mean of the secants, 0 at extrema and flats, shortened to the circle of radius 3."""
    secants = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:], strict=False)]
    slopes = [secants[0]]
    for before, after in zip(secants, secants[1:], strict=False):
        slopes.append(Decimal(0) if before * after <= 0 else (before + after) / 2)
    slopes.append(secants[-1])
    for i, secant in enumerate(secants):
        if secant == 0:
            slopes[i] = slopes[i + 1] = Decimal(0)
        else:
            radius = ((slopes[i] ** 2 + slopes[i + 1] ** 2).sqrt()) / abs(secant)
            if radius > 3:
                slopes[i], slopes[i + 1] = slopes[i] * 3 / radius, slopes[i + 1] * 3 / radius
    return slopes


def height(points: list[tuple[Decimal, Decimal]], interpolation: str, x: Decimal) -> Decimal:
    if x < points[0][0]:
        return points[0][1]
    i = max(index for index, point in enumerate(points) if point[0] <= x)
    if i == len(points) - 1 or interpolation == "step":
        return points[i][1]
    (x0, y0), (x1, y1) = points[i], points[i + 1]
    t = (x - x0) / (x1 - x0)
    if interpolation == "linear":
        return y0 * (1 - t) + y1 * t
    slopes, third = tangents(points), (x1 - x0) / 3
    control = [y0, y0 + third * slopes[i], y1 - third * slopes[i + 1], y1]
    while len(control) > 1:  # de Casteljau
        control = [a * (1 - t) + b * t for a, b in zip(control, control[1:], strict=False)]
    return control[0]


def shapes() -> list[list[tuple[float, float]]]:
    draw = random.Random(20241113)
    result = [[(float(x), float(y)) for x, y in shape] for shape in STRUCTURED]
    while len(result) < SHAPES:
        places = sorted(draw.sample(range(1001), draw.randint(2, 8)))
        shape = [(x / 1000, draw.choice([0, 1000, draw.randint(0, 1000)]) / 1000) for x in places]
        if any(y for _, y in shape):
            result.append(shape)
    return result


def places(shape: list[tuple[float, float]]) -> list[float]:
    """Both ends, every point, just before the last one, and three places in each of two segments."""
    xs = [x for x, _ in shape]
    inner = [round(a + part * (b - a), 6) for a, b in (xs[:2], xs[-2:]) for part in (0.1, 0.5, 0.77)]
    return sorted({0.0, 1.0, *xs, round(xs[-1] - 1e-6, 6), *inner})


def main() -> None:
    cases = []
    for shape in shapes():
        exact = [(Decimal(str(x)), Decimal(str(y))) for x, y in shape]
        for interpolation in ("linear", "monotone_cubic", "step"):
            samples = [[x, float(height(exact, interpolation, Decimal(str(x))))] for x in places(shape)]
            cases.append({"points": shape, "interpolation": interpolation, "samples": samples})
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("curves.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
