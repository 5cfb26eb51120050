"""Writes weights.json, the table of step weights that the Python and the JavaScript guard are both held to.

    python tests/vectors/make_weights.py

Like make_curves.py it shares no code with either: decimals, and the guard's context found by looking at every step.
Each case: points, interpolation, context, start_shift (how much later it starts at safety 0), exponent (the slider's),
safety, starts (progress at the start of each step of the run), guarded (how many of them the guard counts); then used,
the context that the run uses, and weights, one a step; or, for a run in which the curve is zero at every step, weights
null.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path

from make_curves import height

CASES = 240
LEAST = Decimal(1) / 512  # a smaller weight counts as none
CURVES = [
    ([(0, 1), (1, 1)], "linear"),
    ([(0.2, 0.2), (1, 1)], "linear"),
    ([(0.2, 0.2), (0.6, 1), (1, 0.2)], "monotone_cubic"),
    ([(0, 0), (0.5, 1), (0.6, 0), (1, 0)], "linear"),
    ([(0, 0), (0.3, 0.8), (0.5, 0)], "step"),
    ([(0, 1), (0.4, 0), (1, 0)], "monotone_cubic"),
    ([(0, 0), (0.97, 0), (1, 1)], "linear"),
]


def used_context(context: Decimal, weights: list[Decimal], starts: list[Decimal]) -> Decimal | None:
    """The context with which a quarter of the steps, and the step that crosses progress 3/4, lie behind it.

    Where the curve is as good as zero at all of them: the latest step at which it acts; None where there is no such
    step. weights: of the steps, were all of them guarded.
    """
    must = {i for i in range(len(starts)) if 4 * (len(starts) - i - 1) < len(starts)}
    early = [i for i, p in enumerate(starts) if p <= Decimal("0.75")]
    if early:
        must.add(max(early, key=lambda i: starts[i]))
    used = min([context, *(starts[i] for i in must)])
    if any(w >= LEAST and p >= used for w, p in zip(weights, starts, strict=True)):
        return used
    acting = [p for w, p in zip(weights, starts, strict=True) if w >= LEAST]
    return max(acting) if acting else None


def runs(draw: random.Random) -> list[float]:
    """Progress at each step's start: even, bunched at either end, or the end of a longer run; of 1 to 30 steps."""
    count = draw.choice([1, 2, 3, 4, 5, 8, 20, 30])
    bend = draw.choice([0.3, 1.0, 1.0, 2.5])
    first = draw.choice([0.0, 0.0, 0.0, 0.35, 0.8])
    return [round(first + (1 - first) * (i / count) ** bend, 6) for i in range(count)]


def main() -> None:
    draw = random.Random(20241113)
    cases = []
    for number in range(CASES):
        points, interpolation = CURVES[number % len(CURVES)]
        context = draw.choice([0.0, 0.14, 0.2, 0.3, 0.5, 0.9, 1.0])
        exact = [(Decimal(str(x)), Decimal(str(y))) for x, y in points]
        if all(y == 0 for x, y in exact if x > Decimal(str(context))) and not height(
            exact, interpolation, Decimal(str(context))
        ):
            context = 0.1  # beyond its last point a curve that ends in zero guards nothing, and is no schedule
        safety = draw.choice([0.0, 0.25, 0.5, 1.0])
        starts = runs(draw)
        guarded = max(1, len(starts) - draw.choice([0, 0, 1]))
        places = [Decimal(str(p)) for p in starts]
        heights = [height(exact, interpolation, p) for p in places]
        start_shift, exponent = (0.0, 0.4)[number % 2], (1.0, 0.5)[number // 2 % 2]
        used = min(Decimal(str(context)) + Decimal(str(start_shift)) * (1 - Decimal(str(safety))), Decimal(1))
        strength = Decimal(str(safety)) ** Decimal(str(exponent))
        if safety:
            used = used_context(used, [strength * h for h in heights[:guarded]], places[:guarded])
        case = {
            "points": points,
            "interpolation": interpolation,
            "context": context,
            "start_shift": start_shift,
            "exponent": exponent,
            "safety": safety,
            "starts": starts,
            "guarded": guarded,
        }
        if used is None:
            cases.append({**case, "used": None, "weights": None})
            continue
        weights = [float(strength * h) if p >= used else 0.0 for h, p in zip(heights, places, strict=True)]
        cases.append({**case, "used": float(used), "weights": weights})
    lines = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("weights.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
