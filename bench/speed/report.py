"""The report of the speed benchmark.

A machine that other work slows down slows both of a pair, so ratios are taken within pairs, before the median.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bench import tables
from demo.session import SAMPLER, SCHEDULER

from .cases import PROMPT, SIZES, STOCK

HEAD = ("case", "rows", "time", "CPU time", "ms per picture", "memory", "outside the model, ms per step", "difference")
SETTING = (
    "{steps} steps, {batch} at once, latents {cells} x {cells}, {dtype}, pairs of runs per case: {repeats}. "
    "The stock KSampler takes {rows[0]} rows in {calls[0]} calls, and {mib:.1f} MiB."
)
GROWTH = "Growth: {} beside the stock KSampler's, pairs of runs per cell: {repeats}."


def spread(values: np.ndarray, digits: int) -> str:
    """The median, and in brackets the quartiles."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def beside_stock(record: dict[str, Any], clock: str) -> str:
    """clock: which of a record's seconds."""
    theirs, ours = np.transpose(record[clock])
    return spread(ours / theirs, 2)


def row(record: dict[str, Any]) -> list[str]:
    """A record of measure.py as a line of the table."""
    (their_rows, rows), (their_peak, peak) = record["rows"], record["peak"]
    pictures = 1000 * np.array(record["seconds"]) / record["batch"]
    steps = 1000 * np.array(record["beside"]) / record["steps"]
    return [
        record["case"] if record["against"] == STOCK else f"{record['case']}, beside {record['against']}",
        f"{rows / their_rows:.2f}",
        *(beside_stock(record, clock) for clock in ("seconds", "cpu")),
        "{1:.0f} ({0:.0f})".format(*np.median(pictures, axis=0)),
        f"{peak / their_peak:.2f}",
        "{1:.1f} ({0:.1f})".format(*np.median(steps, axis=0)),
        spread(steps[:, 1] - steps[:, 0], 1),
    ]


def growth(records: list[dict[str, Any]], clock: str) -> str:
    """How time grows: a line per case, a column per number of pictures at once and of steps."""
    lines: dict[str, dict[str, str]] = {}
    for record in records:
        column = "{batch} at once, {steps} steps".format(**record)
        lines.setdefault(record["case"], {"case": record["case"]})[column] = beside_stock(record, clock)
    return tables.table(list(lines[record["case"]]), [list(cells.values()) for cells in lines.values()])


def text(results: dict[str, Any]) -> str:
    """The report, in Markdown."""
    made = results["made"]
    summary, template = (Path(__file__).with_name(name).read_text("utf-8") for name in ("summary.md", "report.md"))
    loads = [record["load"] for size in results["sizes"] for record in size.get("records", []) if record["load"]]
    values = {
        **tables.made_of({"prompt": PROMPT, "sampler": SAMPLER, "scheduler": SCHEDULER, **made}, ""),
        "summary": summary.strip() if made["fingerprint"] in summary else "",  # what was written of these results
        "load": f"{min(loads):.1f} to {max(loads):.1f}" if loads else "not known",
        "gpu": "" if made["gpu"] else "There was no GPU: figures in half precision at 512 pixels were not taken.",
        "sizes": "\n\n".join(part for size in results["sizes"] for part in _size(size, made["gpu"])),
    }
    return tables.report(template, values)


def _size(size: dict[str, Any], gpu: bool) -> list[str]:
    """The parts of the report on a model size."""
    parts, records = [f"## {SIZES[size['size']].title}"], size.get("records", [])
    if "skipped" in size:
        parts.append(f"Not measured: {size['skipped']}.")
    cases, grown = ([r for r in records if (r["series"] == "cases") == first] for first in (True, False))
    for lines in (list(some) for _, some in groupby(cases, lambda record: record["batch"])):
        parts.append(SETTING.format(**lines[0], mib=lines[0]["peak"][0] / 2**20))
        parts.append(tables.table(HEAD, map(row, lines)))
    if grown:
        parts.append(GROWTH.format("time" if gpu else "CPU time", **grown[0]))
        parts.append(growth(grown, "seconds" if gpu else "cpu"))
    return parts


def publish(results: dict[str, Any], folder: Path) -> None:
    (folder / "speed.md").write_text(text(results), encoding="utf-8")
