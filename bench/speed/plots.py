"""How time grows with the pictures at once and with the steps, as one picture a model size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .models import SIZES
from .statistics import medians, ratios, spread

COLOURS = ("#c8261c", "#1f6fb4", "#2e8b57", "#8a5fb0", "#b8860b", "#555555")
AXES = {"batch": "pictures at once", "steps": "steps"}


def lines(records: list[dict[str, Any]], series: str) -> dict[str, list[tuple[int, list[float], list[float]]]]:
    """By case, in order of x: (x, spread of seconds over those of the stock sampler, both's median seconds)."""
    found: dict[str, list[tuple[int, list[float], list[float]]]] = {}
    for record in records:
        if record["series"] == series:
            point = (record[series], spread(ratios(record["seconds"])), medians(record["seconds"]))
            found.setdefault(record["case"], []).append(point)
    return {case: sorted(points, key=lambda point: point[0]) for case, points in found.items()}


def draw(results: dict[str, Any], folder: Path) -> dict[str, str]:
    """Writes a picture for each size whose growth was measured; their file names by size."""
    pictures = {}
    for size in results["sizes"]:
        if any(record["series"] in AXES for record in size.get("records", [])):
            name = f"speed-{size['size']}.png"
            _draw(size, folder / name)
            pictures[size["size"]] = name
    return pictures


def _draw(size: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.5), sharex="col", layout="constrained")
    for column, (series, words) in enumerate(AXES.items()):
        top, bottom = axes[0][column], axes[1][column]
        found = lines(size["records"], series)
        for colour, (case, points) in zip(COLOURS, found.items(), strict=False):
            xs = [x for x, _, _ in points]
            top.plot(xs, [both[1] for *_, both in points], "o-", color=colour, label=case, markersize=4)
            bottom.plot(xs, [middle for _, (_, middle, _), _ in points], "o-", color=colour, markersize=4)
            bottom.fill_between(xs, [low for _, (low, _, _), _ in points], [high for _, (_, _, high), _ in points],
                                color=colour, alpha=0.15, linewidth=0)  # fmt: skip
        first = next(iter(found.values()), [])
        top.plot([x for x, _, _ in first], [both[0] for *_, both in first], "o--", color="black", markersize=4,
                 label="stock KSampler")  # fmt: skip
        bottom.axhline(1.0, color="black", linestyle="--", linewidth=1)
        top.set_ylim(bottom=0)
        bottom.set_xlabel(words)
        bottom.set_xscale("log", base=2)
        bottom.set_xticks(sorted({x for x, _, _ in first}))
        bottom.get_xaxis().set_major_formatter(matplotlib.ticker.ScalarFormatter())
        bottom.minorticks_off()
        for panel in (top, bottom):
            panel.grid(alpha=0.3)
    axes[0][0].set_ylabel("seconds a run, median")
    axes[1][0].set_ylabel("time beside stock: median, quartiles")
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"Growth on {SIZES[size['size']].title}")
    figure.savefig(path, dpi=90)
    plt.close(figure)
