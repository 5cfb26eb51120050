"""The report of `bench safety` and the README's block, written from the results alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import evidence
from bench.statistics import CERTAIN, RESAMPLES
from bench.tables import made_of, report
from demo.detector import HALF_SEEN, SEEN

from . import examples, plots, tables
from .plan import SEED
from .results import IMAGE, NEAR, PLAIN, PROJECT, SELECTIVE, SafetyResults

HERE = Path(__file__).parent
BLOCK = re.compile(r"(<!-- evidence:begin -->\n).*?(<!-- evidence:end -->)", re.DOTALL)
FRONT = "![Unsafe seen against layout kept and against distance, for every method]({})"


def summary(results: SafetyResults) -> str:
    """What was written by hand from the table of the full run; nothing for other results."""
    whole = (results.made["seed"], results.made["quick"]) == (SEED, False)
    return (HERE / "summary.md").read_text("utf-8") if whole else ""


def text(results: SafetyResults, files: dict[str, str]) -> str:
    """The whole report. files: the pictures' names."""
    contexts = [*results.contexts(PROJECT), *results.contexts(SELECTIVE)]
    redrawn = "not measured" if results.redrawn is None else f"{results.redrawn:.3f}"
    values = {
        **made_of(results.made, evidence.sentences(results.made)),
        **{name: files.get(name, "") for name in (*plots.NAMES, "examples")},
        "sizes": ", ".join(
            f"{len(cases)} {tables.NAMES.get(name, name)}" for name, cases in results.sets.items() if cases
        ),
        "summary": summary(results),
        "headline": tables.headline(results),
        "slider_table": tables.slider(results),
        "related": "\n\n".join(
            f"Beside {method}:\n\n{tables.related(results, method)}"
            for method in (PROJECT, SELECTIVE)
            if results.slider(method)
        ),
        "seen_and_kept": tables.seen_and_kept(results.of()),
        "cost": tables.cost(results),
        "groups": tables.groups(results),
        "contexts": tables.seen_and_kept(contexts),
        "benign_table": tables.benign(results),
        "indices": tables.indices(results),
        "edits": tables.edits(results) if results.edits else "",
        "image_to_image": tables.seen_and_kept(results.of(IMAGE)),
        "confusions": tables.confusions(results, confused(results)),
        **{"seen": f"{SEEN:g}", "half": f"{HALF_SEEN:g}", "near": f"{NEAR:g}", "redrawn": redrawn},
        **{"resamples": f"{RESAMPLES}", "certain": f"{100 * CERTAIN:.0f}"},
    }
    return report((HERE / "report.md").read_text("utf-8"), values)


def confused(results: SafetyResults) -> list[Any]:
    """The rows whose confusion of categories is shown."""
    return results.at((PLAIN, None), ("CASG", 1.0), (PROJECT, 0.5), (PROJECT, 1.0))


def headline(results: SafetyResults, folder: str = "bench/results") -> str:
    """The README's block. folder: where the report is, seen from the README."""
    benign = sum(len(results.sets[cases]) for cases in ("benign", "neighbours"))
    parts = [
        f"{len(results.sets['unsafe'])} unsafe and {benign} benign prompts; 95 % intervals in brackets. Every figure, "
        f"with its definition: [the report]({folder}/safety.md).",
        tables.headline(results),
        FRONT.format(f"{folder}/{plots.FILE.format('front')}"),
        "*Left and up is better; whiskers are 95 % intervals, a number stands at a line's strongest end.*",
        summary(results).strip(),
    ]
    return "\n\n".join(filter(None, parts))


def publish(
    results: dict[str, Any],
    folder: Path,
    readme: Path | None = None,
    pictures: Callable[[str], np.ndarray] | None = None,
) -> Path:
    """safety.md and its pictures in `folder`, and the README's block between its marks.

    pictures: a row's pictures [N, H, W, 3] by its key; without it the grid of examples that is in the folder stays.
    """
    before = "" if readme is None else readme.read_text("utf-8")
    if readme is not None and not BLOCK.search(before):
        raise ValueError(f"{readme.name}: expected <!-- evidence:begin --> ... <!-- evidence:end -->, got neither.")
    table = SafetyResults(results)
    folder.mkdir(parents=True, exist_ok=True)
    files = plots.draw(table, confused(table), folder)
    grid = folder / examples.FILE
    if pictures is not None:
        examples.write(table, pictures, grid)
    if grid.exists():
        files["examples"] = examples.FILE
    path = folder / "safety.md"
    path.write_text(text(table, files), encoding="utf-8")
    if readme is not None:
        block = headline(table, folder.relative_to(readme.parent).as_posix())
        readme.write_text(BLOCK.sub(lambda marks: f"{marks[1]}{block}\n{marks[2]}", before), encoding="utf-8")
    return path
