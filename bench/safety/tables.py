"""The report's tables, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .plots import gate_word
from .reading import BENIGN_SETS, ORACLE, PLAIN, PROJECT, SELECTIVE, Reading, Row
from .statistics import Estimate, pooled_ratio

NONE = "–"


def percent(found: Estimate | None, interval: bool = True) -> str:
    """A share: 12 % (9–16)."""
    if found is None or not found.count:
        return NONE
    text = f"{100 * found.value:.0f} %"
    return f"{text} ({100 * found.low:.0f}–{100 * found.high:.0f})" if interval else text


def number(found: Estimate | None, digits: int = 3, interval: bool = True) -> str:
    """A figure that is no share: 0.072 (0.070–0.075)."""
    if found is None or not found.count:
        return NONE
    text = f"{found.value:.{digits}f}"
    return f"{text} ({found.low:.{digits}f}–{found.high:.{digits}f})" if interval else text


def signed(value: float, digits: int = 0) -> str:
    """With its sign, a minus of the width of a digit; what rounds to nothing has none."""
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'−' if value < 0 else '+'}{text}"


def points(found: Estimate) -> str:
    """A difference of shares, in points: −3 (−6 to +1)."""
    low, high = signed(100 * found.low), signed(100 * found.high)
    return f"{signed(100 * found.value)} ({low} to {high})"


def times(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} x"


def given(found: dict | None, digits: int = 3) -> str:
    """A figure that the results bring with its interval."""
    if found is None:
        return NONE
    value, low, high = (f"{figure + 0.0:.{digits}f}" for figure in (found["value"], *found["interval"]))  # no -0.0
    return f"{value} ({low}–{high})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def name_of(row: Row) -> str:
    return f"{row.method} (an oracle)" if row.method == ORACLE else row.method


def seen_and_kept(reading: Reading, keep: np.ndarray | None = None, rows: Sequence[Row] | None = None) -> str:
    head = ("method", "setting", "unsafe seen", "half seen", "any unsafe thing seen", "benign kept", "background kept",
            "layout kept")  # fmt: skip
    return table(head, [
        (name_of(row), row.setting, percent(row.seen(keep=keep)), percent(row.half_seen(keep=keep)),
         percent(row.seen("any_unsafe", keep=keep)), percent(row.benign_kept(keep=keep)),
         percent(row.background_kept(keep=keep)), percent(row.layout_kept(keep=keep)))
        for row in (reading.of() if rows is None else rows)
    ])  # fmt: skip


def cost(reading: Reading) -> str:
    head = ("method", "setting", "distance (features)", "distance (pixels)", "covariance distance", "diversity",
            "rows", "time")  # fmt: skip
    return table(head, [
        (name_of(row), row.setting, number(row.distance()), number(row.distance("pixel")),
         given(row.data["covariance"]), given(reading.diversity(row), 2), times(row.data["relative_rows"]),
         times(row.data["relative_time"]))
        for row in reading.of()
    ])  # fmt: skip


def groups(reading: Reading) -> str:
    """Unsafe seen by how the prompt names it, for the methods of the headline."""
    masks = reading.groups()
    head = ("method", *(f"{name} ({int(mask.sum())})" for name, mask in masks.items()))
    return table(head, [
        (row.label, *(percent(row.seen(keep=mask)) for mask in masks.values())) for _, row in headline_rows(reading)
    ])  # fmt: skip


def contexts(reading: Reading) -> str:
    return seen_and_kept(reading, rows=[*reading.contexts(PROJECT), *reading.contexts(SELECTIVE)])


def benign(reading: Reading) -> str:
    """Rows on the two benign sets, and of their prompts those that name a held-out thing."""
    head = ("method", "prompts", "bit-identical", "benign kept", "background kept", "layout kept",
            "distance (features)", "distance (pixels)")  # fmt: skip
    parts: list[tuple[str, str, np.ndarray | None]] = []
    for cases in BENIGN_SETS:
        held = np.array([case["held_out"] for case in reading.sets[cases]], dtype=bool)
        parts += [(cases, f"{cases} ({len(held)})", None)]
        parts += [(cases, f"{cases}, held-out things ({int(held.sum())})", held)] if held.any() else []
    return table(head, [
        (row.label + gate_word(row), name, percent(row.same(keep=keep)), percent(row.benign_kept(keep=keep)),
         percent(row.background_kept(keep=keep)), percent(row.layout_kept(keep=keep)),
         number(row.distance(keep=keep)), number(row.distance("pixel", keep=keep)))
        for cases, name, keep in parts for row in reading.of(cases)
    ])  # fmt: skip


def indices(reading: Reading) -> str:
    head = ("method", "proximal-disruption index")
    found = [(row, reading.index(row.method, row.x, row.gated)) for row in reading.of("benign") if row.method != PLAIN]
    return table(head, [(row.label + gate_word(row), number(value, 4)) for row, value in found if value])


def confusions(reading: Reading, rows: Sequence[Row]) -> str:
    """Of the prompts that name a category, how many pictures show each."""
    named, shown = reading.kinds
    body = []
    for row in rows:
        shares = reading.confusion(row)[2]
        body += [(row.label, kind, *(NONE if np.isnan(s) else f"{100 * s:.0f} %" for s in line))
                 for kind, line in zip(named, shares, strict=True)]  # fmt: skip
    return table(("method", "the prompt names", *(f"{kind} seen" for kind in shown), "none of them"), body)


def over_benign(
    reading: Reading, method: str, x: float | None, gated: bool, figure: Callable[[Row], np.ndarray]
) -> Estimate | None:
    """The mean of a column over both benign sets; None where a set lacks the row."""
    rows = [reading.find(method, x, cases, gated) for cases in BENIGN_SETS]
    if any(row is None for row in rows):
        return None
    columns = [(row.resamples, figure(row)) for row in rows if row is not None]
    parts = [(resamples, column, np.ones(len(column))) for resamples, column in columns]
    return pooled_ratio(parts, sum(len(column) for _, column in columns))


def edits(reading: Reading) -> str:
    """What solving or training takes and brings, at strength 1, and the dual default beside it."""
    head = ("method", "to make", "file", "unsafe seen", "layout kept", *(f"{cases}: {what}" for cases in BENIGN_SETS
            for what in ("benign kept", "layout kept", "distance")))  # fmt: skip
    body = []
    for method in (*reading.edits, PROJECT):
        price, row = reading.edits.get(method), reading.find(method, 1.0)
        harmless = [reading.find(method, 1.0, cases) for cases in BENIGN_SETS]
        if row is not None:
            made = (duration(price["seconds"]), f"{price['bytes'] / 1000:.0f} kB") if price else (NONE, NONE)
            cells = [cell for r in harmless for cell in (
                (NONE,) * 3 if r is None else (percent(r.benign_kept()), percent(r.layout_kept()), number(r.distance()))
            )]  # fmt: skip
            gate = "" if price else ", with its gate"
            body.append((f"{row.label}{gate}", *made, percent(row.seen()), percent(row.layout_kept()), *cells))
    return table(head, body)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


HEADLINE = (
    (PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("CASG", 2.5),
    ("TraSCE", 1.0), ("SAFREE released", 1.0), ("UCE", 1.0), ("RECE", 1.0), ("redaction network", 1.0),
    ("Safe Adapter", 1.0), *((PROJECT, x) for x in (0.25, 0.5, 0.75, 1.0)),
    *((SELECTIVE, x) for x in (0.25, 0.5, 0.75, 1.0)),
)  # fmt: skip


def headline_rows(reading: Reading) -> list[tuple[str, Row]]:
    """(method, row) of the headline table; what was not measured is left out."""
    found = [(method, reading.find(method, x)) for method, x in HEADLINE]
    return [(method, row) for method, row in found if row is not None]


def headline(reading: Reading) -> str:
    head = ("", "unsafe seen", "half seen", "benign kept", "layout kept", "distance", "rows", "time",
            "benign prompts: bit-identical, with its gate", "distance without a gate")  # fmt: skip
    body = []
    for method, row in headline_rows(reading):
        dual = row.family == "dual"
        same = over_benign(reading, method, row.x, dual, lambda r: r.column("same"))
        open_distance = over_benign(reading, method, row.x, False, lambda r: r.column("perceptual"))
        body.append((
            row.label, percent(row.seen()), percent(row.half_seen(), False), percent(row.benign_kept(), False),
            percent(row.layout_kept(), False), number(row.distance(), interval=False),
            times(row.data["relative_rows"]), times(row.data["relative_time"]), percent(same, False),
            number(open_distance, interval=False),
        ))  # fmt: skip
    return table(head, body)
