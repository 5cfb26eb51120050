"""The report's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.statistics import Estimate, Standing, difference
from bench.tables import NONE, columns_table, number, percent, points, recorded, signed, table, times

from .results import BENIGN_SETS, COSTS, DUAL, PLAIN, PROJECT, SELECTIVE, Row, SafetyResults

Columns = dict[str, Callable[[Row], str]]
NAMES = {"benign": "benign", "neighbours": "look-alikes"}  # of the benign sets, in words
ROW: Columns = {"method": lambda row: row.name, "setting": lambda row: row.setting}
LABEL: Columns = {"method": lambda row: row.label}
KEPT = ("benign kept", "background kept", "layout kept")
DISTANCES = COSTS[1:]
HEADLINE: tuple[tuple[str, float | None], ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("CASG", 2.5)),
    *((method, 1.0) for method in ("TraSCE", "SAFREE released", "UCE", "RECE", "redaction network", "Safe Adapter")),
    *((method, x) for method in (PROJECT, SELECTIVE) for x in (0.25, 0.5, 0.75, 1.0)),
)


def written(measure: str, figure: Estimate | None, interval: bool = True) -> str:
    return number(figure, interval=interval) if "distance" in measure else percent(figure, interval)


def measured(*measures: str, interval: bool = True, keep: np.ndarray | None = None) -> Columns:
    """Columns of measures. keep: the prompts that count."""

    def column(measure: str) -> Callable[[Row], str]:
        return lambda row: written(measure, row.figure(measure, keep), interval)

    return {measure: column(measure) for measure in measures}


def seen_and_kept(rows: Sequence[Row]) -> str:
    return columns_table(rows, ROW | measured("unsafe seen", "half seen", "any unsafe thing seen", *KEPT))


COST: Columns = {
    "rows": lambda row: times(row.data["relative_rows"]),
    "time": lambda row: times(row.data["relative_time"]),
}


def cost(results: SafetyResults) -> str:
    spread: Columns = {
        "covariance distance": lambda row: recorded(row.data["covariance"]),
        "diversity": lambda row: recorded(results.diversity(row), 2),
    }
    return columns_table(results.of(), ROW | measured(*DISTANCES) | spread | COST)


def groups(results: SafetyResults) -> str:
    """Unsafe seen by how the prompt names it, for the methods of the headline."""
    columns = dict(LABEL)
    for name, mask in results.groups().items():
        columns[f"{name} ({int(mask.sum())})"] = measured("unsafe seen", keep=mask)["unsafe seen"]
    return columns_table(results.at(*HEADLINE), columns)


def gated_label(row: Row) -> str:
    """What a row on benign prompts is, and of a dual one how its gate was."""
    return row.label + ("" if row.family != DUAL else ", with its gate" if row.gated else ", gate held open")


def benign(results: SafetyResults) -> str:
    """Rows on the two benign sets, and of their prompts those that name a held-out thing."""
    measures, lines = ("bit-identical", *KEPT, *DISTANCES), []
    for cases in BENIGN_SETS:
        held = np.array([case["held_out"] for case in results.sets[cases]], dtype=bool)
        for name, keep in (("", np.ones_like(held)), (", held-out things", held)):
            columns = measured(*measures, keep=keep)
            who = f"{NAMES[cases]}{name} ({int(keep.sum())})"
            rows = results.of(cases) if keep.any() else []
            lines += [[gated_label(row), who, *(column(row) for column in columns.values())] for row in rows]
    return table(["method", "prompts", *measures], lines)


def indices(results: SafetyResults) -> str:
    values = [(row, results.index(row, row.gated)) for row in results.of("benign") if row.method != PLAIN]
    lines = [(gated_label(row), number(value, 4)) for row, value in values if value]
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
    prices = results.edits
    columns: Columns = {
        "method": lambda row: row.label + ("" if row.method in prices else ", with its gate"),
        "to make": lambda row: duration(prices[row.method]["seconds"]) if row.method in prices else NONE,
        "file": lambda row: f"{prices[row.method]['bytes'] / 1000:.0f} kB" if row.method in prices else NONE,
        **measured("unsafe seen", "layout kept"),
    }

    def beside(cases: str, column: Callable[[Row], str]) -> Callable[[Row], str]:
        return lambda row: NONE if (twin := results.find(row.method, 1.0, cases)) is None else column(twin)

    for cases in BENIGN_SETS:
        for measure, column in measured("benign kept", "layout kept", "distance (features)").items():
            columns[f"{NAMES[cases]}: {measure.removesuffix(' (features)')}"] = beside(cases, column)
    return columns_table(results.at(*((method, 1.0) for method in (*prices, PROJECT))), columns)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def headline(results: SafetyResults) -> str:
    def over_benign(measure: str, gate: Callable[[Row], bool]) -> Callable[[Row], str]:
        return lambda row: written(measure, results.over_benign(row, gate(row), measure), False)

    columns: Columns = {
        "": lambda row: row.label,
        **measured("unsafe seen"),
        **measured("half seen", "benign kept", "layout kept", interval=False),
        "distance": measured("distance (features)", interval=False)["distance (features)"],
        **COST,
        "benign prompts: bit-identical, with its gate": over_benign("bit-identical", lambda row: row.family == DUAL),
        "distance without a gate": over_benign("distance (features)", lambda row: False),
    }
    return columns_table(results.at(*HEADLINE), columns)


# -- at equal cost -----------------------------------------------------------------------------------------------------


def related(results: SafetyResults, method: str) -> str:
    """Every related method at every setting beside a dual method's slider, at equal cost."""

    def column(cost: str) -> Callable[[Row], str]:
        def cell(row: Row) -> str:
            against = results.compare(row, method, cost)
            end = ", beyond the slider's end" if against.beyond else ""
            return f"{against.verdict}: {points(against.difference)}{end}"

        return cell

    columns: Columns = {"related method": lambda row: row.label, **measured("unsafe seen")}
    columns |= {f"equal {cost.removesuffix(' kept')}": column(cost) for cost in COSTS}
    return columns_table(results.related(), columns)


def slider(results: SafetyResults) -> str:
    """Every position of the two defaults: on the front, or behind what."""
    columns: Columns = {"": lambda row: row.label}
    for cost in COSTS:
        front = results.front(cost)
        others, places = [row for row, _ in front], {id(row): place for row, place in front}
        columns[cost.removesuffix(" kept")] = lambda row, places=places, others=others, cost=cost: _place(  # type: ignore[misc]
            row, places[id(row)], others, cost
        )
    rows = [row for method in (PROJECT, SELECTIVE) for row in results.slider(method) if row.x]
    return columns_table(rows, columns)


def _place(row: Row, standing: Standing, others: Sequence[Row], cost: str) -> str:
    """Where a slider position stands; where it is not on the front, behind whom and by what."""
    if standing.front:
        return f"on the front ({100 * standing.on_front:.0f} %)"
    other = others[standing.by[0]]
    fewer, gap = (difference(other.figure(name), row.figure(name)) for name in ("unsafe seen", cost))
    distance = f"distance {signed(gap.value, 3)} ({signed(gap.low, 3)} to {signed(gap.high, 3)})"
    less = f"layout {points(gap)}" if cost == "layout kept" else distance
    sure = "surely" if standing.surely_behind else f"in {100 * standing.support[0]:.0f} % of resamples"
    return f"behind {other.label}, {sure}: unsafe seen {points(fewer)}, {less}"
