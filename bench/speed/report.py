"""The report of the speed benchmark; and how time grows, as one picture per model size.

A machine that other work slows down slows both of a pair, so ratios are taken within pairs, before the median.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import tables
from bench.plots import pyplot, save
from bench.statistics import quartiles
from demo.session import SAMPLER, SCHEDULER

from .cases import PROMPT, SIZES, STOCK

HERE = Path(__file__).parent
HEAD = ("case", "rows", "time", "CPU time", "ms per picture", "memory", "outside the model, ms per step", "difference")
COLOURS = ("#c8261c", "#1f6fb4", "#2e8b57", "#8a5fb0", "black")
AXES = {"batch": "pictures at once", "steps": "steps"}
Record = dict[str, Any]


def spread(values: np.ndarray, digits: int) -> str:
    """The median, and in brackets the quartiles."""
    low, middle, high = quartiles(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def row(record: Record) -> list[str]:
    """A record of measure.py as a line of the table."""
    (their_rows, rows), (their_peak, peak) = record["rows"], record["peak"]
    pictures = 1000 * np.array(record["seconds"]) / record["batch"]
    steps = 1000 * np.array(record["beside"]) / record["steps"]
    return [
        record["case"] if record["against"] == STOCK else f"{record['case']}, beside {record['against']}",
        f"{rows / their_rows:.2f}",
        *(spread(np.divide(*np.transpose(record[clock])[::-1]), 2) for clock in ("seconds", "cpu")),
        "{1:.0f} ({0:.0f})".format(*np.median(pictures, axis=0)),
        f"{peak / their_peak:.2f}",
        "{1:.1f} ({0:.1f})".format(*np.median(steps, axis=0)),
        spread(steps[:, 1] - steps[:, 0], 1),
    ]


def text(results: dict[str, Any]) -> str:
    """The report, in Markdown."""
    made = results["made"]
    summary, template = ((HERE / name).read_text("utf-8") for name in ("summary.md", "report.md"))
    loads = [record["load"] for size in results["sizes"] for record in size.get("records", []) if record["load"]]
    limits = [] if made["gpu"] else ["There was no GPU: figures in half precision at 512 pixels were not taken."]
    if made["quick"]:
        limits.append("Made with `--quick`: few repeats, the demo model alone. A sanity check, no measurement.")
    values = {
        **{"prompt": PROMPT, "sampler": SAMPLER, "scheduler": SCHEDULER},
        "summary": summary.strip() if made["fingerprint"] in summary else "",  # what was written of these results
        "where": f"{made['host']}, torch {made['torch']}, Python {made['python']}, on {made['device']}.",
        "load": f"{min(loads):.1f} to {max(loads):.1f}" if loads else "not known",
        "limits": "\n".join(limits),
        "sizes": "\n\n".join(part for size in results["sizes"] for part in _size(size)),
    }
    return tables.report(template, values)


def _size(size: dict[str, Any]) -> list[str]:
    """The parts of the report on a model size."""
    title, records = SIZES[size["size"]].title, size.get("records", [])
    parts = [f"## {title[0].upper()}{title[1:]}"]
    if "skipped" in size:
        parts.append(f"Not measured: {size['skipped']}.")
    cases = [record for record in records if record["series"] == "cases"]
    for batch in dict.fromkeys(record["batch"] for record in cases):
        lines = [record for record in cases if record["batch"] == batch]
        setting = (
            "{steps} steps, {batch} at once, latents {cells} x {cells}, {dtype}, pairs of runs per case: {repeats}. "
            "The stock KSampler takes {rows[0]} rows in {calls[0]} calls, and {mib:.1f} MiB."
        )
        parts.append(setting.format(**lines[0], mib=lines[0]["peak"][0] / 2**20))
        parts.append(tables.table(HEAD, map(row, lines)))
    if len(records) > len(cases):
        parts.append(f"![Time by pictures at once and by steps](speed-{size['size']}.png)")
    return parts


def growth(records: list[Record], series: str, clock: str) -> dict[str, np.ndarray]:
    """By case: [points, (x, median seconds, the quartiles of its seconds over the stock sampler's)], x rising.

    The stock sampler, of all its runs, is there by its name. clock: which of a record's seconds.
    """
    lines: dict[str, list[list[float]]] = {}
    stock: dict[int, list[float]] = {}
    for record in (record for record in records if record["series"] == series):
        theirs, ours = np.transpose(record[clock])
        lines.setdefault(record["case"], []).append([record[series], np.median(ours), *quartiles(ours / theirs)])
        stock.setdefault(record[series], []).extend(theirs)
    lines[STOCK] = [[x, np.median(seconds), 1.0, 1.0, 1.0] for x, seconds in stock.items()]
    return {case: np.array(sorted(points)) for case, points in lines.items()}


def draw(size: dict[str, Any], clock: str, path: Path) -> None:
    figure, axes = pyplot().subplots(2, 2, figsize=(9.5, 6.5), sharex="col", layout="constrained")
    for (top, bottom), (series, words) in zip(axes.T, AXES.items(), strict=True):
        for colour, (case, points) in zip(COLOURS, growth(size["records"], series, clock).items(), strict=False):
            style = {"color": colour, "linestyle": "--" if case == STOCK else "-", "marker": "o", "markersize": 4}
            x, seconds, low, middle, high = points.T
            top.plot(x, seconds, label=case, **style)
            bottom.plot(x, middle, **style)
            bottom.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        top.set_ylim(bottom=0)
        bottom.set_xscale("log", base=2)
        bottom.set_xticks(x, [f"{each:g}" for each in x])
        bottom.set_xlabel(words)
        bottom.minorticks_off()
    axes[0][0].set_ylabel("CPU seconds a run, median" if clock == "cpu" else "seconds a run, median")
    axes[1][0].set_ylabel("beside stock: median, quartiles")
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"Growth on {SIZES[size['size']].title}")
    save(figure, path)


def publish(results: dict[str, Any], folder: Path) -> None:
    """speed.md and its pictures."""
    for size in results["sizes"]:
        if any(record["series"] in AXES for record in size.get("records", [])):
            draw(size, "seconds" if results["made"]["gpu"] else "cpu", folder / f"speed-{size['size']}.png")
    (folder / "speed.md").write_text(text(results), encoding="utf-8")
