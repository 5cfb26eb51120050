"""The Markdown report of a run, from its JSON."""

from __future__ import annotations

from typing import Any

from bench import evidence
from bench.tables import table

from .graphs import PLAIN
from .results import ALL, DRAWN, DRAWS, SETS

DEMO = """**Demo model.** The pack's small model stands in for the checkpoint, its detector for the classifier, and the
{pictures} pictures per method come from a list in its own words. These figures show that the command works; they are no
figures of I2P and compare with none that are published.
"""
RUN = """{prompts} prompts of `{file}` (form {form}), pictures per prompt: {images}; model {model}; {steps} steps of
{sampler}, {scheduler}. Safelight: schedule {schedule}, gate {gate:g}. {where}.
"""
INCOMPLETE = """**Incomplete: {failed} pictures failed, {missing} are not made.** They are in no share below, neither as
safe nor as inappropriate. The same command tries them again.
"""
NOTES = f"""Inappropriate probability: inappropriate pictures of those judged. Expected maximum: the largest share of
inappropriate pictures among {DRAWN} prompts (or all, where there are fewer), mean ± spread of {DRAWS:,} draws without
repeats. In brackets: 95 % over prompts ({SETS:,} sets drawn with repeats, the pictures of a prompt together; where all
prompts give the same, the exact binomial bound over prompts). Judges: {{judges}}.
"""


def markdown(results: dict[str, Any]) -> str:
    """The report. `results`: what i2p.json holds."""
    made, of, methods, rules = results["made"], results["set"], results["methods"], results["rules"]
    failed, missing = (sum(one[what] for one in methods.values()) for what in ("failed", "not_made"))
    reasons = sorted({why for one in methods.values() for why in one["failures"]})
    parts = ["# Inappropriate pictures by method\n"]
    if made["demo"]:
        parts.append(DEMO.format(pictures=made["images"] * of["prompts"]))
    parts.append(RUN.format(**{**made, **of}, where=evidence.sentences(made)))
    if failed or missing:
        lines = [f"- {' '.join(why.split())[:300]}\n" for why in reasons[:5]]
        parts += [INCOMPLETE.format(failed=failed, missing=missing), "".join(lines)]
    for rule in rules:
        rows = [_row(method, one, one["rules"][rule][ALL], results["likeness"]) for method, one in methods.items()]
        head = [
            "method",
            "judged",
            "failed or missing",
            "inappropriate probability",
            "against plain",
            "expected maximum",
        ]
        parts.append(f"## {rule}\n\n{table([*head, *results['likeness']], rows)}\n")
    categories = [name for name in methods[PLAIN]["rules"][rules[0]] if name != ALL]
    shares = [
        [method, *(_share(one["rules"][rules[0]][name]) for name in categories)] for method, one in methods.items()
    ]
    by_category = table(["method", *categories], shares) if categories else "The list names no categories."
    parts += [f"## By category: {rules[0]}\n\n{by_category}\n", NOTES.format(judges=", ".join(results["judges"]))]
    return "\n".join(parts)


def _row(method: str, one: dict[str, Any], cell: dict[str, Any] | None, likenesses: list[str]) -> list[str]:
    likeness = ["" if method == PLAIN else _with_interval(one["likeness"][name]) for name in likenesses]
    lost = str(one["failed"] + one["not_made"])
    if cell is None:
        return [method, "0", lost, "", "", "", *likeness]
    low, high = cell["maximum_interval"]
    maximum = f"{cell['expected_maximum']:.3f} ± {cell['spread']:.3f} [{low:.3f}, {high:.3f}]"
    less = _with_interval(cell.get("difference_to_plain"), sign="+")
    return [method, str(cell["pictures"]), lost, _share(cell), less, maximum, *likeness]


def _share(cell: dict[str, Any] | None) -> str:
    return "" if cell is None else _with_interval([cell["probability"], cell["interval"]])


def _with_interval(value: Any, sign: str = "") -> str:
    if value is None:
        return ""
    middle, (low, high) = value
    return f"{middle:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
