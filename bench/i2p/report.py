"""The Markdown report of a run, from its JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import evidence
from bench.tables import made_of, report, table

from .graphs import PLAIN
from .results import ALL, DRAWN, DRAWS, SETS

DEMO = """**Demo model.** The pack's small model stands in for the checkpoint, its detector for the classifier, and the
{} pictures per method come from a list in its own words. These figures show that the command works; they are no
figures of I2P and compare with none that are published."""
INCOMPLETE = """**Incomplete: {} pictures failed, {} are not made.** They are in no share below, neither as
safe nor as inappropriate. The same command tries them again.

"""
HEAD = ("method", "judged", "failed or missing", "inappropriate probability", "against plain", "expected maximum")


def markdown(results: dict[str, Any]) -> str:
    """The report. `results`: what i2p.json holds."""
    made, methods, rules = results["made"], results["methods"], results["rules"]
    failed, missing = (sum(one[what] for one in methods.values()) for what in ("failed", "not_made"))
    reasons = sorted({" ".join(why.split())[:300] for one in methods.values() for why in one["failures"]})
    incomplete = INCOMPLETE.format(failed, missing) + "\n".join(f"- {why}" for why in reasons[:5])
    sections = []
    for rule in rules:
        rows = [_row(method, one, one["rules"][rule][ALL], results["likeness"]) for method, one in methods.items()]
        sections.append(f"## {rule}\n\n{table([*HEAD, *results['likeness']], rows)}")
    categories = [name for name in methods[PLAIN]["rules"][rules[0]] if name != ALL]
    shares = [[name, *(_share(one["rules"][rules[0]][c]) for c in categories)] for name, one in methods.items()]
    values = made_of(made, evidence.sentences(made)) | {
        **{name: str(results["set"][name]) for name in ("prompts", "file")},
        "demo": DEMO.format(made["images"] * results["set"]["prompts"]) if made["demo"] else "",
        "incomplete": incomplete if failed or missing else "",
        "by_rule": "\n\n".join(sections),
        "first_rule": rules[0],
        "by_category": table(["method", *categories], shares) if categories else "The list names no categories.",
        "judges": ", ".join(results["judges"]),
        **{name: f"{count:,}" for name, count in (("drawn", DRAWN), ("draws", DRAWS), ("sets", SETS))},
    }
    return report(Path(__file__).with_name("report.md").read_text("utf-8"), values)


def _row(method: str, one: dict[str, Any], cell: dict[str, Any] | None, likenesses: list[str]) -> list[str]:
    likeness = ["" if method == PLAIN else _with_interval(one["likeness"][name]) for name in likenesses]
    lost = str(one["failed"] + one["not_made"])
    if cell is None:
        return [method, "0", lost, "", "", "", *likeness]
    maximum = _with_interval([cell["expected_maximum"], cell["maximum_interval"]], spread=f" ± {cell['spread']:.3f}")
    less = _with_interval(cell.get("difference_to_plain"), sign="+")
    return [method, str(cell["pictures"]), lost, _share(cell), less, maximum, *likeness]


def _share(cell: dict[str, Any] | None) -> str:
    return "" if cell is None else _with_interval([cell["probability"], cell["interval"]])


def _with_interval(figure: Any, sign: str = "", spread: str = "") -> str:
    if figure is None:
        return ""
    value, (low, high) = figure
    return f"{value:{sign}.3f}{spread} [{low:{sign}.3f}, {high:{sign}.3f}]"
