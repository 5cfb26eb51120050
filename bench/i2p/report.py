"""The figures of a run as JSON, with every score and seed, and as a Markdown report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from . import figures
from .graphs import PLAIN
from .judges import Judge, Rule
from .likeness import Likeness
from .making import against
from .prompts import Prompt
from .store import Store

ALL = "all"
DIGITS = 4


class Results:
    """Reads a store: `keys[method][prompt][image]` are its pictures' keys."""

    def __init__(
        self,
        store: Store,
        prompts: Sequence[Prompt],
        keys: dict[str, list[list[str]]],
        rules: Sequence[Rule],
        likenesses: Sequence[Likeness],
        seed: int,
    ) -> None:
        self.store, self.prompts, self.keys = store, prompts, keys
        self.rules, self.likenesses, self.seed = rules, likenesses, seed
        self.judges: dict[str, Judge] = {judge.key: judge for rule in rules for judge, _ in rule.parts}
        names = sorted({name for prompt in prompts for name in prompt.categories})
        self.members = {ALL: list(range(len(prompts)))} | {
            name: [i for i, prompt in enumerate(prompts) if name in prompt.categories] for name in names
        }

    def everything(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "prompts": [
                {"row": p.row, "categories": list(p.categories), "seed": p.seed, "guidance": p.guidance,
                 "width": p.width, "height": p.height}
                for p in self.prompts
            ],
            "methods": {method: self._method(method) for method in self.keys},
        }  # fmt: skip

    def _method(self, method: str) -> dict[str, Any]:
        keys = self.keys[method]
        flat = [key for row in keys for key in row]
        failed = {key: self.store.failed[key] for key in flat if key in self.store.failed and not self._is_judged(key)}
        return {
            "pictures": len(flat),
            "failed": len(failed),
            "not_made": sum(key not in self.store.made and key not in failed for key in flat),
            "failures": sorted(set(failed.values())),
            "rules": {rule.name: self._rule(method, rule) for rule in self.rules},
            "likeness": {likeness.name: self._likeness(method, likeness) for likeness in self.likenesses},
            "scores": {judge.name: [[self._score(key, name) for key in row] for row in keys]
                       for name, judge in self.judges.items()},
            "likeness_scores": {one.name: self._likeness_scores(method, one) for one in self.likenesses},
        }  # fmt: skip

    def _is_judged(self, key: str) -> bool:
        return key in self.store.made and set(self.judges) <= set(self.store.scores.get(key, ()))

    def _score(self, key: str, judge: str) -> float | None:
        """A picture's score; None for one that was not made or not judged."""
        score = self.store.scores.get(key, {}).get(judge) if key in self.store.made else None
        return None if score is None else round(score, DIGITS)

    def _verdicts(self, method: str, rule: Rule, members: list[int]) -> tuple[np.ndarray, np.ndarray]:
        def verdict(key: str) -> bool | None:
            return rule.says(self.store.scores.get(key, {})) if key in self.store.made else None

        return figures.verdicts([[verdict(key) for key in self.keys[method][i]] for i in members])

    def _rule(self, method: str, rule: Rule) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, members in self.members.items():
            counts = self._verdicts(method, rule, members)
            one = figures.inappropriateness(*counts, self.seed)
            found[name] = None if one is None else rounded(asdict(one))
            if one is not None and method != PLAIN:
                less = figures.difference(*counts, *self._verdicts(PLAIN, rule, members), self.seed)
                found[name]["difference_to_plain"] = None if less is None else rounded(less)
        return found

    def _likeness_scores(self, method: str, likeness: Likeness) -> list[list[float | None]]:
        return [
            [self._score(key, against(likeness, twin)) for key, twin in zip(row, plain, strict=True)]
            for row, plain in zip(self.keys[method], self.keys[PLAIN], strict=True)
        ]

    def _likeness(self, method: str, likeness: Likeness) -> Any:
        found = figures.mean(self._likeness_scores(method, likeness), self.seed)
        return None if found is None else rounded(found)


def rounded(value: Any) -> Any:
    """Floats at DIGITS decimals, tuples as lists."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def markdown(results: dict[str, Any]) -> str:
    """The report. `results`: what Results.everything gives, with `made`, `set`, `judges` and `rules` beside it."""
    made, of, methods = results["made"], results["set"], results["methods"]
    first = results["rules"][0]
    lines = ["# Inappropriate pictures by method", ""]
    if made["demo"]:
        lines += [
            "**Demo model.** The pack's small model stands in for the checkpoint, its detector for the classifier, and "
            f"the {made['images'] * of['prompts']} pictures a method come from a list in its own words. These figures "
            "show that the command works; they are no figures of I2P and compare with none that are published.",
            "",
        ]
    lines += [
        f"{of['prompts']} prompts of `{of['file']}` (form {of['form']}), {made['images']} "
        f"picture{'s' * (made['images'] > 1)} a prompt; model {made['model']}; {made['steps']} steps of "
        f"{made['sampler']}, {made['scheduler']}. Safelight: schedule {made['schedule']}, gate {made['gate']:g}.",
        "",
        *_incomplete(methods),
    ]
    for rule in results["rules"]:
        lines += [f"## {rule}", "", *_table(methods, rule, results["likeness"]), ""]
    lines += [f"## By category: {first}", "", *_by_category(methods, first), "", *_notes(results)]
    return "\n".join(lines) + "\n"


def _incomplete(methods: dict[str, Any]) -> list[str]:
    failed, missing = (sum(one[what] for one in methods.values()) for what in ("failed", "not_made"))
    if not failed and not missing:
        return []
    reasons = sorted({why for one in methods.values() for why in one["failures"]})
    return [
        f"**Incomplete: {failed} pictures failed, {missing} are not made.** They are in no share below, neither as "
        "safe nor as inappropriate. The same command tries them again.",
        *(f"- {' '.join(why.split())[:300]}" for why in reasons[:5]),
        "",
    ]


def _table(methods: dict[str, Any], rule: str, likenesses: list[str]) -> list[str]:
    heading = ["method", "judged", "failed or missing", "inappropriate probability", "against plain",
               "expected maximum", *likenesses]  # fmt: skip
    lines = [_row(heading), _row(["---"] + ["---:"] * (len(heading) - 1))]
    for method, one in methods.items():
        found = one["rules"][rule][ALL]
        likeness = ["" if method == PLAIN else _with_interval(one["likeness"][name]) for name in likenesses]
        lost = str(one["failed"] + one["not_made"])
        if found is None:
            lines.append(_row([method, "0", lost, "", "", "", *likeness]))
            continue
        less = found.get("difference_to_plain")
        probability = _with_interval([found["probability"], found["interval"]])
        low, high = found["maximum_interval"]
        maximum = f"{found['expected_maximum']:.3f} ± {found['spread']:.3f} [{low:.3f}, {high:.3f}]"
        cells = [probability, _with_interval(less, sign="+"), maximum]
        lines.append(_row([method, str(found["pictures"]), lost, *cells, *likeness]))
    return lines


def _by_category(methods: dict[str, Any], rule: str) -> list[str]:
    names = [name for name in next(iter(methods.values()))["rules"][rule] if name != ALL]
    if not names:
        return ["The list names no categories."]
    lines = [_row(["method", *names]), _row(["---"] + ["---:"] * len(names))]
    for method, one in methods.items():
        cells = [one["rules"][rule][name] for name in names]
        shares = ["" if cell is None else _with_interval([cell["probability"], cell["interval"]]) for cell in cells]
        lines.append(_row([method, *shares]))
    return lines


def _notes(results: dict[str, Any]) -> list[str]:
    drawn = {cell["drawn"] for one in results["methods"].values() for rule in one["rules"].values()
             for name, cell in rule.items() if name == ALL and cell}  # fmt: skip
    few = drawn and min(drawn) < figures.DRAWN
    return [
        "Inappropriate probability: inappropriate pictures of those judged. Expected maximum: the largest share of "
        f"inappropriate pictures among {figures.DRAWN} prompts, mean ± spread of {figures.DRAWS:,} draws without "
        "repeats" + (f" (here {min(drawn)}, as there are no more)" if few else "") + ". In brackets: 95 % over prompts "
        f"({figures.SETS:,} sets drawn with repeats, the pictures of a prompt together; where every prompt gives the "
        "same, the exact binomial bound over prompts). "
        f"Judges: {', '.join(results['judges'])}.",
    ]


def _with_interval(value: Any, sign: str = "") -> str:
    if value is None:
        return ""
    middle, (low, high) = value
    return f"{middle:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
