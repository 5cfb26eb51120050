"""The report of the speed benchmark, in Markdown; and how time grows, as one picture per model size.

A machine that other work slows down slows both of a pair, so ratios are taken within pairs, before the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.demo_session import SAMPLER, SCHEDULER
from bench.plots import pyplot, save
from bench.statistics import quartiles
from bench.tables import table

from .cases import STOCK
from .models import PROMPT, SIZES

HERE = Path(__file__).parent
HEAD = ("case", "rows", "time", "CPU time", "ms per picture", "memory", "outside the model, ms per step", "difference")
COLOURS = ("#c8261c", "#1f6fb4", "#2e8b57", "#8a5fb0")
CLOCKS = {"seconds": "seconds", "cpu": "CPU seconds"}
AXES = {"batch": "pictures at once", "steps": "steps"}

Pair = Sequence[float]  # (what it is compared with, the case)
Record = dict[str, Any]


def ratios(pairs: Sequence[Pair]) -> list[float]:
    return [ours / theirs for theirs, ours in pairs]


def medians(pairs: Sequence[Pair]) -> list[float]:
    """Of what it is compared with, and of the case."""
    return [quartiles([pair[i] for pair in pairs])[1] for i in (0, 1)]


def three(values: Sequence[float], digits: int) -> str:
    low, middle, high = quartiles(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def row(record: Record) -> list[str]:
    """A record of measure.py as a line of the table."""
    outside = [[1000.0 * seconds / record["steps"] for seconds in pair] for pair in record["beside"]]
    theirs, ours = (1000.0 * seconds / record["batch"] for seconds in medians(record["seconds"]))
    stock, case = medians(outside)
    rows, memory = (record[name][1] / record[name][0] for name in ("rows", "peak"))
    name = record["case"] if record["against"] == STOCK else f"{record['case']}, beside {record['against']}"
    times = [three(ratios(record[clock]), 2) for clock in CLOCKS]
    outside_both, added = f"{case:.1f} ({stock:.1f})", three([b - a for a, b in outside], 1)
    return [name, f"{rows:.2f}", *times, f"{ours:.0f} ({theirs:.0f})", f"{memory:.2f}", outside_both, added]


def text(results: dict[str, Any], pictures: dict[str, str]) -> str:
    """The report. pictures: file names by size."""
    made = results["made"]
    loads = [record["load"] for size in results["sizes"] for record in size.get("records", []) if record["load"]]
    introduction, summary = ((HERE / f"{name}.md").read_text("utf-8") for name in ("introduction", "summary"))
    parts = [introduction.format(prompt=PROMPT, sampler=SAMPLER, scheduler=SCHEDULER)]
    if made["fingerprint"] in summary:  # what a person wrote is of these results
        parts.append(f"## In short\n\n{summary}")
    where = f"{made['host']}, torch {made['torch']}, Python {made['python']}, on {made['device']}."
    busy = f"{min(loads):.1f} to {max(loads):.1f}" if loads else "not known"
    parts.append(f"## Where\n\n{where}")
    parts.append(f"Load of the machine (one minute's mean, this benchmark's own work included): {busy}.")
    if not made["gpu"]:
        parts.append("There was no GPU: figures in half precision at 512 pixels were not taken.")
    if made["quick"]:
        parts.append("\nMade with `--quick`: few repeats, the demo model alone. A sanity check, no measurement.")
    for size in results["sizes"]:
        title = SIZES[size["size"]].title
        parts.append(f"\n## {title[0].upper()}{title[1:]}\n")
        if "skipped" in size:
            parts.append(f"Not measured: {size['skipped']}.")
        cases = [record for record in size.get("records", []) if record["series"] == "cases"]
        for batch in sorted({record["batch"] for record in cases}):
            records = [record for record in cases if record["batch"] == batch]
            one = records[0]
            setting = f"{one['steps']} steps, {batch} at once, latents {one['cells']} x {one['cells']}, {one['dtype']}"
            stock = f"{one['rows'][0]} rows in {one['calls'][0]} calls, and {one['peak'][0] / 2**20:.1f} MiB"
            parts.append(f"{setting}, pairs of runs per case: {one['repeats']}. The stock KSampler takes {stock}.\n")
            parts.append(f"{table(HEAD, map(row, records))}\n")
        if size["size"] in pictures:
            parts.append(f"![Time by pictures at once and by steps]({pictures[size['size']]})")
    return "\n".join(parts).rstrip("\n") + "\n"


def growth(records: list[Record], series: str, clock: str) -> dict[str, list[tuple[int, Sequence[float], float]]]:
    """By case, in order of x: (x, quartiles of its seconds over the stock sampler's, median of its seconds).

    The stock sampler, of all its runs, is there by its name. clock: which of a record's seconds.
    """
    points: dict[str, list[tuple[int, Sequence[float], float]]] = {}
    stock: dict[int, list[float]] = {}
    for record in (record for record in records if record["series"] == series):
        x, pairs = record[series], record[clock]
        points.setdefault(record["case"], []).append((x, quartiles(ratios(pairs)), medians(pairs)[1]))
        stock.setdefault(x, []).extend(theirs for theirs, _ in pairs)
    points[STOCK] = [(x, [1.0, 1.0, 1.0], quartiles(seconds)[1]) for x, seconds in stock.items()]
    return {case: sorted(line, key=lambda point: point[0]) for case, line in points.items()}


def draw(results: dict[str, Any], folder: Path) -> dict[str, str]:
    """Writes a picture for each size whose growth was measured; their file names by size."""
    pictures = {}
    for size in results["sizes"]:
        if any(record["series"] in AXES for record in size.get("records", [])):
            pictures[size["size"]] = name = f"speed-{size['size']}.png"
            _draw(size, "seconds" if results["made"]["gpu"] else "cpu", folder / name)
    return pictures


def _draw(size: dict[str, Any], clock: str, path: Path) -> None:
    figure, axes = pyplot().subplots(2, 2, figsize=(9.5, 6.5), sharex="col", layout="constrained")
    for (top, bottom), (series, words) in zip(axes.T, AXES.items(), strict=True):
        lines = growth(size["records"], series, clock)
        for colour, (case, points) in zip([*COLOURS, "black"], lines.items(), strict=False):
            style = {"color": colour, "linestyle": "--" if case == STOCK else "-", "marker": "o", "markersize": 4}
            xs, ratio, seconds = zip(*points, strict=True)
            low, middle, high = zip(*ratio, strict=True)
            top.plot(xs, seconds, label=case, **style)
            bottom.plot(xs, middle, **style)
            bottom.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        top.set_ylim(bottom=0)
        bottom.set_xlabel(words)
        bottom.set_xscale("log", base=2)
        bottom.set_xticks([x for x, *_ in lines[STOCK]])
        bottom.get_xaxis().set_major_formatter("{x:g}")
        bottom.minorticks_off()
    axes[0][0].set_ylabel(f"{CLOCKS[clock]} a run, median")
    axes[1][0].set_ylabel("beside stock: median, quartiles")
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"Growth on {SIZES[size['size']].title}")
    save(figure, path)
