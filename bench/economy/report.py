"""The report of `bench economy`, written from its figures alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import evidence
from bench.demo_session import SAMPLER, SETTINGS
from bench.plots import INK, pyplot, save
from bench.tables import columns_table, made_of, report

from .generate import LEVELS, MODES, OFF

PLOT = "economy.png"
LINES = {  # by kind of way: what the line of its figures is called, its colour and marker
    "memory": ("memory of the other prompt (ours)", "#0072B2", "o"),
    "by turns": ("by turns, nothing remembered", "#D55E00", "^"),
    "kept": ("difference kept for 2 or 3 calls", "#E69F00", "s"),
}
KINDS = {"mode": "memory", "allowed": "memory"}
FigureRow = dict[str, Any]


def percent(name: str) -> Callable[[FigureRow], str]:
    return lambda row: "{:.0f} % ({:.0f}–{:.0f})".format(*(100 * value for value in row[name]))


COLUMNS: dict[str, Callable[[FigureRow], str]] = {
    "way": lambda row: row["way"],
    "safety": lambda row: f"{row['safety']:g}",
    "rows": lambda row: f"{row['rows']:.2f}",
    **{name: percent(name) for name in ("unlike full", "turned out another", "unsafe seen", "layout kept")},
    "distance": lambda row: "{:.3f} ({:.3f}–{:.3f})".format(*row["distance"]),
}


def samplers(rows: list[FigureRow]) -> list[str]:
    return list(dict.fromkeys(row["sampler"] for row in rows))


def draw(rows: list[FigureRow], path: Path) -> None:
    """Left: unlikeness by rows, for each way to save. Right: that of the two modes, by sampler."""
    figure, (left, right) = pyplot().subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    economical = [row for row in rows if row["sampler"] == SAMPLER and row["way"] != OFF]
    for kind, (label, colour, marker) in LINES.items():
        for level, dashes in zip(LEVELS, (":", "-", "--"), strict=True):
            line = [r for r in economical if KINDS.get(r["kind"], r["kind"]) == kind and r["safety"] == level]
            line.sort(key=lambda row: row["rows"])
            x, y = [row["rows"] for row in line], [100 * row["unlike full"][0] for row in line]
            left.plot(x, y, dashes, color=colour, marker=marker, label=label if level == LEVELS[1] else None)
    left.set(xlabel="rows of model evaluation, relative to plain", ylabel="unlike the full evaluation, %")
    left.set(title=f"{SAMPLER}, safety .25 (dotted), .5, .75 (dashed)")
    left.set_ylim(0, 1.3 * left.get_ylim()[1])  # room for the legend
    left.legend(loc="upper right")
    names = samplers(rows)
    for shift, mode, colour in zip((-0.2, 0.2), MODES, ("#b8860b", "#c2185b"), strict=True):
        middle = {row["sampler"]: row["unlike full"] for row in rows if (row["way"], row["safety"]) == (mode, 0.5)}
        values = 100 * np.array([middle[name] for name in names])
        error = {"yerr": np.abs(values[:, 1:] - values[:, :1]).T, "ecolor": INK, "capsize": 2}
        right.bar(np.arange(len(names)) + shift, values[:, 0], 0.36, color=colour, label=mode, **error)
    right.set(title="by sampler, safety .5", ylabel="unlike the full evaluation, %")
    right.set_xticks(range(len(names)), names, rotation=25, ha="right")
    right.legend()
    save(figure, path)


def text(results: dict[str, Any]) -> str:
    rows, made = results["table"], results["made"]
    parts = []
    for sampler in samplers(rows):
        parts += [f"### {sampler}", columns_table([row for row in rows if row["sampler"] == sampler], COLUMNS)]
    values = {
        **made_of({**SETTINGS, **made}, evidence.sentences(made)),
        "tables": "\n\n".join(parts),
    }
    return report((Path(__file__).parent / "report.md").read_text("utf-8"), values)


def publish(results: dict[str, Any], folder: Path) -> None:
    """economy.md and its picture in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results["table"], folder / PLOT)
    (folder / "economy.md").write_text(text(results), encoding="utf-8")
