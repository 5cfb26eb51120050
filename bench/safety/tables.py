"""The report's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.statistics import Standing, difference
from bench.tables import NONE, columns_table, number, percent, points, recorded, signed, table, times

from .results import BENIGN_SETS, COSTS, DUAL, ORACLE, PLAIN, PROJECT, SELECTIVE, Comparison, Row, SafetyResults

Columns = dict[str, Callable[[Row], str]]
NAMES = {"benign": "benign", "neighbours": "look-alikes"}  # of the benign sets, in words
AGAINST = {"layout": "layout", "perceptual": "distance (features)", "pixel": "distance (pixels)"}
ROW: Columns = {
    "method": lambda row: f"{row.method} (an oracle)" if row.method == ORACLE else row.method,
    "setting": lambda row: row.setting,
}


def kept(keep: np.ndarray | None = None) -> Columns:
    """keep: the prompts that count."""
    return {
        "benign kept": lambda row: percent(row.benign_kept(keep=keep)),
        "background kept": lambda row: percent(row.background_kept(keep=keep)),
        "layout kept": lambda row: percent(row.layout_kept(keep=keep)),
    }


SEEN_AND_KEPT: Columns = {
    **ROW,
    "unsafe seen": lambda row: percent(row.seen()),
    "half seen": lambda row: percent(row.half_seen()),
    "any unsafe thing seen": lambda row: percent(row.seen("any_unsafe")),
    **kept(),
}


def seen_and_kept(rows: Sequence[Row]) -> str:
    return columns_table(rows, SEEN_AND_KEPT)


def cost(results: SafetyResults) -> str:
    columns: Columns = {
        **ROW,
        "distance (features)": lambda row: number(row.distance()),
        "distance (pixels)": lambda row: number(row.distance("pixel")),
        "covariance distance": lambda row: recorded(row.data["covariance"]),
        "diversity": lambda row: recorded(results.diversity(row), 2),
        "rows": lambda row: times(row.data["relative_rows"]),
        "time": lambda row: times(row.data["relative_time"]),
    }
    return columns_table(results.of(), columns)


def groups(results: SafetyResults) -> str:
    """Unsafe seen by how the prompt names it, for the methods of the headline."""
    columns: Columns = {"method": lambda row: row.label}
    for name, mask in results.groups().items():
        columns[f"{name} ({int(mask.sum())})"] = lambda row, mask=mask: percent(row.seen(keep=mask))  # type: ignore[misc]
    return columns_table(headline_rows(results), columns)


def gate_word(row: Row) -> str:
    """What a dual row on benign prompts says of its gate."""
    return "" if row.family != DUAL else (", with its gate" if row.gated else ", gate held open")


def benign(results: SafetyResults) -> str:
    """Rows on the two benign sets, and of their prompts those that name a held-out thing."""
    lines: list[list[str]] = []
    for cases in BENIGN_SETS:
        held = np.array([case["held_out"] for case in results.sets[cases]], dtype=bool)
        parts: list[tuple[str, np.ndarray | None]] = [(f"{NAMES[cases]} ({len(held)})", None)]
        parts += [(f"{NAMES[cases]}, held-out things ({int(held.sum())})", held)] if held.any() else []
        for name, keep in parts:
            for row in results.of(cases):
                cells = [column(row) for column in kept(keep).values()]
                apart = (number(row.distance(measure, keep=keep)) for measure in ("perceptual", "pixel"))
                lines.append([row.label + gate_word(row), name, percent(row.same(keep=keep)), *cells, *apart])
    return table(["method", "prompts", "bit-identical", *kept(), "distance (features)", "distance (pixels)"], lines)


def indices(results: SafetyResults) -> str:
    values = [(row, results.index(row.method, row.x, row.gated)) for row in results.of("benign") if row.method != PLAIN]
    lines = [(row.label + gate_word(row), number(value, 4)) for row, value in values if value]
    return table(("method", "proximal-disruption index"), lines)


def confusions(results: SafetyResults, rows: Sequence[Row]) -> str:
    """Of the prompts that name a category, how many pictures show each."""
    named, shown = results.kinds
    lines = [
        (row.label, kind, *(NONE if np.isnan(share) else f"{100 * share:.0f} %" for share in shares))
        for row in rows
        for kind, shares in zip(named, results.confusion(row), strict=True)
    ]
    return table(("method", "the prompt names", *(f"{kind} seen" for kind in shown), "none of them"), lines)


def edits(results: SafetyResults) -> str:
    """What solving or training takes and brings, at strength 1, and the dual default beside it."""

    def made(row: Row) -> dict[str, float] | None:
        return results.edits.get(row.method)

    columns: Columns = {
        "method": lambda row: row.label + ("" if made(row) else ", with its gate"),
        "to make": lambda row: duration(price["seconds"]) if (price := made(row)) else NONE,
        "file": lambda row: f"{price['bytes'] / 1000:.0f} kB" if (price := made(row)) else NONE,
        "unsafe seen": lambda row: percent(row.seen()),
        "layout kept": lambda row: percent(row.layout_kept()),
    }
    measures: Columns = {
        "benign kept": lambda row: percent(row.benign_kept()),
        "layout kept": lambda row: percent(row.layout_kept()),
        "distance": lambda row: number(row.distance()),
    }

    def beside(cases: str, measure: Callable[[Row], str]) -> Callable[[Row], str]:
        return lambda row: NONE if (twin := results.find(row.method, 1.0, cases)) is None else measure(twin)

    for cases in BENIGN_SETS:
        columns |= {f"{NAMES[cases]}: {name}": beside(cases, measure) for name, measure in measures.items()}
    rows = [results.find(method, 1.0) for method in (*results.edits, PROJECT)]
    return columns_table([row for row in rows if row is not None], columns)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


HEADLINE: tuple[tuple[str, float | None], ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("CASG", 2.5)),
    *((method, 1.0) for method in ("TraSCE", "SAFREE released", "UCE", "RECE", "redaction network", "Safe Adapter")),
    *((method, x) for method in (PROJECT, SELECTIVE) for x in (0.25, 0.5, 0.75, 1.0)),
)


def headline_rows(results: SafetyResults) -> list[Row]:
    """What was not measured is left out."""
    return [row for method, x in HEADLINE if (row := results.find(method, x)) is not None]


def headline(results: SafetyResults) -> str:
    def over_benign(row: Row, gated: bool, column: str) -> str:
        figure = results.over_benign(row.method, row.x, gated, column)
        return percent(figure, False) if column == "same" else number(figure, interval=False)

    columns: Columns = {
        "": lambda row: row.label,
        "unsafe seen": lambda row: percent(row.seen()),
        "half seen": lambda row: percent(row.half_seen(), False),
        "benign kept": lambda row: percent(row.benign_kept(), False),
        "layout kept": lambda row: percent(row.layout_kept(), False),
        "distance": lambda row: number(row.distance(), interval=False),
        "rows": lambda row: times(row.data["relative_rows"]),
        "time": lambda row: times(row.data["relative_time"]),
        "benign prompts: bit-identical, with its gate": lambda row: over_benign(row, row.family == DUAL, "same"),
        "distance without a gate": lambda row: over_benign(row, False, "perceptual"),
    }
    return columns_table(headline_rows(results), columns)


# -- at equal cost -----------------------------------------------------------------------------------------------------


def related(results: SafetyResults, method: str) -> str:
    """Every related method at every setting beside a dual method's slider, at equal cost."""

    def cell(against: Comparison) -> str:
        end = ", beyond the slider's end" if against.beyond else ""
        return f"{against.verdict}: {points(against.difference)}{end}"

    lines = [(row.label, percent(row.seen()), *map(cell, results.compare(row, method))) for row in results.related()]
    return table(("related method", "unsafe seen", *(f"equal {AGAINST[cost]}" for cost in COSTS)), lines)


def slider(results: SafetyResults) -> str:
    """Every position of the two defaults: on the front, or behind what."""
    fronts = {cost: results.front(cost) for cost in COSTS}
    lines = []
    for row in (row for method in (PROJECT, SELECTIVE) for row in results.slider(method) if row.x):
        places = [next(place for other, place in fronts[cost] if other is row) for cost in COSTS]
        others = [[other for other, _ in fronts[cost]] for cost in COSTS]
        lines.append([row.label, *(_place(row, *each) for each in zip(places, others, COSTS, strict=True))])
    return table(("", *(AGAINST[cost] for cost in COSTS)), lines)


def _place(row: Row, standing: Standing, others: Sequence[Row], cost: str) -> str:
    """Where a slider position stands; where it is not on the front, behind whom and by what."""
    if standing.front:
        return f"on the front ({100 * standing.on_front:.0f} %)"
    other = others[standing.by[0]]
    if cost == "layout":
        less = f"layout {points(difference(other.layout_kept(), row.layout_kept()))}"
    else:
        gap = difference(other.distance(cost), row.distance(cost))
        less = f"distance {signed(gap.value, 3)} ({signed(gap.low, 3)} to {signed(gap.high, 3)})"
    sure = "surely" if standing.surely_behind else f"in {100 * standing.support[0]:.0f} % of resamples"
    return f"behind {other.label}, {sure}: unsafe seen {points(difference(other.seen(), row.seen()))}, {less}"
