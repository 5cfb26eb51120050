"""How time grows with the pictures at once and with the steps, as one picture a model size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.safety.plots import pyplot, save

from .cases import STOCK
from .models import SIZES
from .statistics import ratios, spread

COLOURS = ("#c8261c", "#1f6fb4", "#2e8b57", "#8a5fb0", "#b8860b", "#555555")
CLOCKS = {"seconds": "seconds", "cpu": "CPU seconds"}
AXES = {"batch": "pictures at once", "steps": "steps"}


def lines(records: list[dict[str, Any]], series: str, clock: str) -> dict[str, list[tuple[int, list[float], float]]]:
    """By case, in order of x: (x, spread of its seconds over the stock sampler's, median of its seconds).

    The stock sampler, of all its runs, is there by its name. clock: which of a record's seconds.
    """
    found: dict[str, list[tuple[int, list[float], float]]] = {}
    stock: dict[int, list[float]] = {}
    for record in records:
        if record["series"] == series:
            x, pairs = record[series], record[clock]
            point = (x, spread(ratios(pairs)), spread([ours for _, ours in pairs])[1])
            found.setdefault(record["case"], []).append(point)
            stock.setdefault(x, []).extend(theirs for theirs, _ in pairs)
    found[STOCK] = [(x, [1.0, 1.0, 1.0], spread(seconds)[1]) for x, seconds in stock.items()]
    return {case: sorted(points, key=lambda point: point[0]) for case, points in found.items()}


def draw(results: dict[str, Any], folder: Path) -> dict[str, str]:
    """Writes a picture for each size whose growth was measured; their file names by size."""
    pictures = {}
    for size in results["sizes"]:
        if any(record["series"] in AXES for record in size.get("records", [])):
            name = f"speed-{size['size']}.png"
            _draw(size, "seconds" if results["made"]["gpu"] else "cpu", folder / name)
            pictures[size["size"]] = name
    return pictures


def _draw(size: dict[str, Any], clock: str, path: Path) -> None:
    figure, axes = pyplot().subplots(2, 2, figsize=(9.5, 6.5), sharex="col", layout="constrained")
    for column, (series, words) in enumerate(AXES.items()):
        top, bottom = axes[0][column], axes[1][column]
        found = lines(size["records"], series, clock)
        for colour, (case, points) in zip(COLOURS, found.items(), strict=False):
            style = {"color": "black", "linestyle": "--"} if case == STOCK else {"color": colour}
            xs = [x for x, _, _ in points]
            top.plot(xs, [seconds for *_, seconds in points], marker="o", label=case, markersize=4, **style)
            bottom.plot(xs, [middle for _, (_, middle, _), _ in points], marker="o", markersize=4, **style)
            bottom.fill_between(xs, [low for _, (low, _, _), _ in points], [high for _, (_, _, high), _ in points],
                                color=colour, alpha=0.15, linewidth=0)  # fmt: skip
        top.set_ylim(bottom=0)
        bottom.set_xlabel(words)
        bottom.set_xscale("log", base=2)
        bottom.set_xticks([x for x, *_ in found[STOCK]])
        bottom.get_xaxis().set_major_formatter("{x:g}")
        bottom.minorticks_off()
        for panel in (top, bottom):
            panel.grid(alpha=0.3)
    name = CLOCKS[clock]
    axes[0][0].set_ylabel(f"{name} a run, median")
    axes[1][0].set_ylabel("beside stock: median, quartiles")
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"Growth on {SIZES[size['size']].title}")
    save(figure, path)
