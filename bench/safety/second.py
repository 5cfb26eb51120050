"""What a run needs after another one of the same prompt and noise at a lower position of the slider.

The sampler node remembers what the model predicted; everywhere else in this benchmark that is switched off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.session import DemoSession

from .loop import Loop
from .plan import Row
from .sets import Case, evenly

BEFORE = {0.75: 0.5, 1.0: 0.75}  # by the position that is measured the one before it
METHODS = ("dual rewrite", "loop")
PROMPTS = 40  # each


def rows(cases: list[Case]) -> dict[str, tuple[Row, list[Case]]]:
    """By its name, as the results have it, a row and its prompts; no two of them share one, as a memory would."""
    every = [Row("unsafe", method, after, True) for method in METHODS for after in BEFORE]
    spread = evenly(cases, PROMPTS * len(every))
    names = [f"{row.method} at {row.x:g} after {BEFORE[row.x]:g}" for row in every]
    return {name: (row, spread[i :: len(every)]) for i, (name, row) in enumerate(zip(names, every, strict=True))}


def measure(
    session: DemoSession,
    loop: Loop,
    context: Callable[[Case], tuple[Any, Any, float] | None],
    row: Row,
    cases: list[Case],
) -> list[float]:
    """Rows of model evaluation after the run before, as a share of those without it; not of what is not rewritten.

    context: positive, safe and risk of a prompt.
    """
    shares = []
    for case in cases:
        if (conds := context(case)) is None:
            continue
        inputs = loop.inputs(case, row.of.settings) if row.of.way == "loop" else {}
        run = [conds[0]], [conds[1]], [case.number]
        alone = session.latents(*run, row.x, risk=conds[2], memory=False, **inputs)[1]["rows"]
        session.latents(*run, BEFORE[row.x], risk=conds[2], memory=True, **inputs)
        shares.append(session.latents(*run, row.x, risk=conds[2], memory=True, **inputs)[1]["rows"] / alone)
    return shares
