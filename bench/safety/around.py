"""The loop around other methods, for fairness: what comes of them where somebody looks, from pictures that are there.

Of each prompt the plain picture where the eye passes it; else that of the lowest strength which the eye passes; else
that of the highest. Its rows are those of all that was made on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from safelight.detect.look import FOUND

from .results import BASELINE, DUAL, LOOP, ORACLE, PLAIN, PROJECT, REWRITE, Row, SafetyResults

AROUND = "around"  # the family
OURS = (REWRITE, PROJECT, ORACLE)  # of the dual methods
PUBLISHED = 1.0


def around(results: SafetyResults, cases: str) -> list[Row]:
    """Of every related method and some fixed sliders that were measured at several strengths: all of these upward, and
    those from the published one on; and of what has no strengths the one way it has."""
    by_method: dict[str, list[Row]] = {}
    for row in results.of(cases):
        if row.family not in (PLAIN, LOOP, BASELINE) and (row.family != DUAL or row.method in OURS) and row.x != 0:
            by_method.setdefault(row.method, []).append(row)
    rows = []
    for method, tries in by_method.items():
        if tries[0].x is None:
            rows.append(picked(f"loop around {method}", tries))
        elif len(tries) > 1:
            rows.append(picked(f"loop around {method}", tries))
            above = [row for row in tries if row.x >= PUBLISHED]
            if tries[0].family != DUAL and 1 < len(above) < len(tries):
                rows.append(picked(f"loop around {method}, from x 1 on", above))
    return rows


def picked(name: str, tries: Sequence[Row]) -> Row:
    """The row of what is picked from plain sampling and these, the weakest first."""
    first = tries[0]
    ladder = [{"columns": first.plain["columns"]}, *(row.data for row in tries)]
    eye, rows = (np.array([each["columns"][column] for each in ladder]) for column in ("eye", "rows"))
    passes = eye < FOUND  # [ladder, prompts]
    place = np.where(passes.any(0), passes.argmax(0), len(ladder) - 1)
    names = set.intersection(*({*each["columns"]} for each in ladder))
    columns = {name: [ladder[n]["columns"][name][i] for i, n in enumerate(place)] for name in names}
    columns["rows"] = np.cumsum(rows, 0)[place, np.arange(len(place))].tolist()
    columns["passed"] = passes.any(0).tolist()
    data = {"key": f"{first.data['set']} {name}", "set": first.data["set"], "method": name, "family": AROUND}
    return Row({**data, "x": None, "gated": False, "columns": columns}, first.plain, first.resamples)
