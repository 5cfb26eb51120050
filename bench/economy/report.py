"""The report of `bench economy`, written from its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas

from bench import evidence
from bench.plots import INK, pyplot, save
from bench.tables import made_of, report, table
from demo.session import SAMPLER, SETTINGS

from .generate import LEVELS, MODES, OFF

LINES = (  # kinds of ways: what the line of their figures is called, its colour and marker
    (("mode", "allowed"), "memory of the other prompt (ours)", "#0072B2", "o"),
    (("by turns",), "by turns, nothing remembered", "#D55E00", "^"),
    (("kept",), "difference kept for 2 or 3 calls", "#E69F00", "s"),
)
SHARES = ("unlike full", "turned out another", "unsafe seen", "layout kept")


def draw(rows: pandas.DataFrame, path: Path) -> None:
    """Left: unlikeness by rows, for each way to save. Right: that of the two modes, by sampler."""
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    rows[["unlike", "low", "high"]] = 100 * pandas.DataFrame(rows["unlike full"].tolist(), index=rows.index)
    economical = rows[(rows.sampler == SAMPLER) & (rows.way != OFF)].sort_values("rows", kind="stable")
    for kinds, label, colour, marker in LINES:
        for level, dashes in zip(LEVELS, (":", "-", "--"), strict=True):
            line = economical[economical.kind.isin(kinds) & (economical.safety == level)]
            look = {"color": colour, "marker": marker, "label": label if level == LEVELS[1] else None}
            left.plot(line["rows"], line.unlike, dashes, **look)
    left.set(xlabel="rows of model evaluation, relative to plain", ylabel="unlike the full evaluation, %")
    left.set(title=f"{SAMPLER}, safety .25 (dotted), .5, .75 (dashed)", ylim=(0, 1.3 * left.get_ylim()[1]))
    left.legend(loc="upper right")
    for shift, mode, colour in zip((-0.2, 0.2), MODES, ("#b8860b", "#c2185b"), strict=True):
        bars = rows[(rows.way == mode) & (rows.safety == 0.5)]  # in the order of the samplers
        error = {"yerr": [bars.unlike - bars.low, bars.high - bars.unlike], "ecolor": INK, "capsize": 2}
        right.bar([place + shift for place in range(len(bars))], bars.unlike, 0.36, color=colour, label=mode, **error)
    right.set(title="by sampler, safety .5", ylabel="unlike the full evaluation, %")
    right.set_xticks(range(rows.sampler.nunique()), rows.sampler.unique(), rotation=25, ha="right")
    right.legend()
    save(figure, path)


def tables(rows: pandas.DataFrame) -> str:
    parts = []
    for sampler, some in rows.groupby("sampler", sort=False):
        lines = [
            [row["way"], f"{row['safety']:g}", f"{row['rows']:.2f}"]
            + ["{:.0f} % ({:.0f}–{:.0f})".format(*(100 * value for value in row[name])) for name in SHARES]
            + ["{:.3f} ({:.3f}–{:.3f})".format(*row["distance"])]
            for row in some.to_dict("records")
        ]
        parts += [f"### {sampler}", table(("way", "safety", "rows", *SHARES, "distance"), lines)]
    return "\n\n".join(parts)


def publish(results: dict[str, Any], folder: Path) -> None:
    """economy.md and its picture in `folder`."""
    rows, made = pandas.DataFrame(results["table"]), results["made"]
    values = {**made_of({**SETTINGS, **made}, evidence.sentences(made)), "tables": tables(rows)}
    text = report((Path(__file__).parent / "report.md").read_text("utf-8"), values)
    (folder / "economy.md").write_text(text, encoding="utf-8")
    draw(rows, folder / "economy.png")
