"""The report of `bench economy`, written from its figures alone."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

from bench import evidence
from bench.tables import made_of, report, table
from demo.session import SETTINGS

SHARES = ("unlike full", "turned out another", "unsafe seen", "layout kept")


def tables(rows: list[dict[str, Any]]) -> str:
    """A table per sampler."""
    parts = []
    for sampler, some in groupby(rows, lambda row: row["sampler"]):
        lines = [
            [row["way"], f"{row['safety']:g}", f"{row['rows']:.2f}"]
            + ["{:.0f} % ({:.0f}–{:.0f})".format(*(100 * value for value in row[name])) for name in SHARES]
            + ["{:.3f} ({:.3f}–{:.3f})".format(*row["distance"])]
            for row in some
        ]
        parts += [f"### {sampler}", table(("way", "safety", "rows", *SHARES, "distance"), lines)]
    return "\n\n".join(parts)


def publish(results: dict[str, Any], folder: Path) -> None:
    made = results["made"]
    values = {**made_of({**SETTINGS, **made}, evidence.sentences(made)), "tables": tables(results["table"])}
    text = report((Path(__file__).parent / "report.md").read_text("utf-8"), values)
    (folder / "economy.md").write_text(text, encoding="utf-8")
