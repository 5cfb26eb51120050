"""What the report says of the loop: named and implicit prompts, harmless ones, other methods in a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bench.statistics import Estimate, Resamples, difference
from bench.tables import NONE, columns_table, number, percent, points, table
from demo.detector import HALF_SEEN, SEEN

from .around import around
from .plan import BENIGN_SETS, IMPLICIT
from .results import COSTS, LOOP, PLAIN, Row, SafetyResults

Columns = dict[str, Callable[[Row], str]]


def had_to_change(row: Row) -> np.ndarray:
    """The prompts whose plain picture shows something unsafe, a mask."""
    return row.column("any_unsafe", plain=True) >= SEEN


def rows_of(row: Row, keep: np.ndarray | None = None) -> str:
    """The mean with its interval, and the worst."""
    values = row.column("rows") if keep is None else row.column("rows")[keep]
    mean = number(row.figure("rows", keep), 2)
    return NONE if mean == NONE else f"{mean}, at most {np.nanmax(values):.2f}"


def beyond_plain(row: Row) -> Estimate:
    """Malformed pictures, beyond those of plain sampling."""
    plain = row.resamples.share(row.column("malformed", plain=True))
    return difference(row.figure("malformed"), plain)


def loops(results: SafetyResults, cases: str) -> list[Row]:
    return [row for row in results.of(cases) if row.family in (PLAIN, LOOP)]


def looked(results: SafetyResults, cases: str) -> str:
    """The loop in all its forms on a set, plain sampling first, then the loop around other methods."""
    rows = loops(results, cases)
    if len(rows) < 2:
        return ""
    columns: Columns = {"": lambda row: row.label}
    for measure in ("unsafe seen", "half seen", "layout kept"):
        columns[measure] = lambda row, measure=measure: percent(row.figure(measure))
    if cases == IMPLICIT:
        for measure in ("unsafe seen", "layout kept"):
            columns[f"{measure}, of those that had to change"] = lambda row, measure=measure: percent(
                row.figure(measure, had_to_change(row))
            )
    columns |= {
        "malformed beyond plain": lambda row: points(beyond_plain(row) if row.has("malformed") else None),
        "distance": lambda row: number(row.figure("distance (features)"), interval=False),
        "rows": rows_of,
        "looks": lambda row: number(row.figure("looks"), 1, interval=False) if row.has("looks") else NONE,
        "passed by the eye": lambda row: percent(row.figure("passed")) if row.has("passed") else NONE,
    }
    return columns_table([*rows, *around(results, cases)], columns)


def held_out(results: SafetyResults) -> str:
    """Implicit prompts, their occasions in parts: those that training and tuning may know, and the others."""
    flags = np.array([case["held_out"] for case in results.sets[IMPLICIT]], dtype=bool)
    nothing = np.array([not case["benign"] for case in results.sets[IMPLICIT]], dtype=bool)
    parts = {"other occasions": ~flags, "held-out occasions": flags, "nothing named": nothing}
    columns: Columns = {"unsafe seen": lambda row: row.label}
    for name, keep in parts.items():
        columns[f"{name} ({int(keep.sum())})"] = lambda row, keep=keep: percent(row.figure("unsafe seen", keep))
    rows = loops(results, IMPLICIT)
    return columns_table(rows, columns) if len(rows) > 1 else ""


# -- harmless prompts --------------------------------------------------------------------------------------------------


class Harmless(NamedTuple):
    """What the eye makes of the plain pictures of harmless prompts; masks. floor: the text was risky, so that nobody
    looked at it; passed: the eye passed it; alarm: it did not, and the judge sees nothing unsafe, not even half; right:
    it did not, and the judge sees something."""

    floor: np.ndarray
    passed: np.ndarray
    alarm: np.ndarray
    right: np.ndarray


def harmless(row: Row) -> Harmless:
    floor = row.column("floor") == 1
    passed = ~floor & (row.column("level") == 0) & (row.column("passed") == 1)
    shows = row.column("any_unsafe", plain=True) >= HALF_SEEN
    return Harmless(floor, passed, ~floor & ~passed & ~shows, ~floor & ~passed & shows)


def alarms(results: SafetyResults) -> str:
    """The loop on harmless prompts."""

    def share(mask: str) -> Callable[[Row], str]:
        return lambda row: percent(row.resamples.share(getattr(harmless(row), mask)))

    columns: Columns = {
        "": lambda row: row.label,
        "prompts": lambda row: f"{row.data['set']} ({len(row.column('level'))})",
        "passed by the eye": share("passed"),
        "of these bit-identical": lambda row: percent(row.resamples.share(row.column("stock"), harmless(row).passed)),
        "their rows": lambda row: rows_of(row, harmless(row).passed),
        "false alarms": share("alarm"),
        "something unsafe is there": share("right"),
        "text read as risky": share("floor"),
        "layout kept of all": lambda row: percent(row.figure("layout kept")),
        "rows of all": rows_of,
    }
    rows = [row for cases in BENIGN_SETS for row in results.of(cases) if row.family == LOOP]
    return columns_table(rows, columns)


# -- at equal cost, and rows -------------------------------------------------------------------------------------------


def fronts(results: SafetyResults, cases: str, place: Callable[..., str]) -> str:
    """Every setting of the loop on a set: on the front, or behind what; beside every setting of every other method, and
    beside these in a loop too. place: a standing in words."""

    def column(cost: str, more: Sequence[Row]) -> Callable[[Row], str]:
        front = results.front(cost, cases, more)
        others, standings = [row for row, _ in front], dict(front)
        return lambda row: place(row, standings[row], others, cost)

    columns: Columns = {"": lambda row: row.label}
    for name, more in (("", []), (", others in a loop", around(results, cases))):
        columns |= {f"{cost.removesuffix(' kept')}{name}": column(cost, more) for cost in COSTS}
    return columns_table([row for row in loops(results, cases) if row.family == LOOP], columns)


def second(results: SafetyResults) -> str:
    """Rows of a run after another one, as a share of those it needs by itself."""
    lines = []
    for name, shares in results.second.items():
        if shares:
            mean = Resamples(len(shares)).mean(shares)
            lines.append((name, str(len(shares)), number(mean, 2), f"{max(shares):.2f}"))
    return table(("", "prompts", "rows, as a share of its own", "worst"), lines)
