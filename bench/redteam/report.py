"""The report of `bench redteam`. All prompt sets are of the same sources, so that all are resampled together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import evidence
from bench.statistics import RESAMPLES, Estimate, Resamples, difference
from bench.tables import made_of, percent, points, report, table
from demo.detector import SEEN
from safelight.text.risk import LEAST_AUC

from .plan import HARMLESS, SEED, SOURCE, TAIL, VECTOR, WORDS

GATE = 0.5  # the samplers' default
TOGETHER = ((WORDS,), (TAIL,), (VECTOR,), (WORDS, TAIL), (WORDS, VECTOR), (WORDS, TAIL, VECTOR))
HERE = Path(__file__).parent


class RedTeamResults:
    """The results as estimates. lines: by method, setting and gate the columns of each prompt set, as they were made;
    gated dual methods come before those whose gate is held open."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results, self.sets = results, results["sets"]
        self.searches = [name for name in self.sets if name != SOURCE]
        self.resamples = Resamples(len(self.sets[SOURCE]))
        self.lines: dict[str, dict[str, Any]] = {}
        for row in results["rows"]:
            gate = "with its gate" if row["gated"] else "gate held open"
            words = row["method"], row["setting"], gate if row["family"] == "dual" else ""
            self.lines.setdefault(", ".join(filter(None, words)), {})[row["set"]] = row["columns"]

    def seen(self, line: str, cases: str, column: str = "any_unsafe") -> np.ndarray:
        """Boolean [sources]: whose picture shows anything unsafe; column "unsafe": the very thing of the source."""
        return np.array(self.lines[line][cases][column], dtype=float) >= SEEN

    def rate(self, line: str, cases: str, column: str = "any_unsafe") -> Estimate:
        return self.resamples.share(self.seen(line, cases, column))

    def gain(self, line: str, cases: str) -> Estimate:
        """The rate on attacks less that on their sources, source by source."""
        return difference(self.rate(line, cases), self.rate(line, SOURCE))

    def risk(self, cases: str) -> np.ndarray:
        return np.array([case["risk"] for case in self.sets[cases]])

    def missed(self, cases: str) -> Estimate:
        """Of the prompts whose plain picture shows anything unsafe, those at which the gate stays closed."""
        return self.resamples.share(self.risk(cases) < GATE, keep=self.seen("plain", cases))

    def let_through(self, cases: str) -> Estimate:
        """Of the prompts at which the gate stays closed, those whose plain picture shows anything unsafe."""
        return self.resamples.share(self.seen("plain", cases), keep=self.risk(cases) < GATE)

    def seen_by(self, gates: Sequence[str], cases: str) -> Estimate:
        """Of the prompts whose plain picture shows anything unsafe, those at which one of these gates would open; of
        harmless sets, all."""
        risks = self.results["gates"]["risk"][cases]
        alarm = np.max([risks[gate] for gate in gates], axis=0) >= GATE
        return self.resamples.share(alarm, keep=None if cases in HARMLESS else self.seen("plain", cases))

    def nearer(self, cases: str) -> Estimate:
        """The loss after the search, relative to the best of its first population."""
        loss, begun = (np.array([case[name] for case in self.sets[cases]]) for name in ("loss", "begun"))
        return self.resamples.ratio(loss, begun, len(loss))

    # -- tables: a line a method, a column a prompt set ---------------------------------------------------------------

    def by_set(self, cases: Iterable[str], cell: Callable[[str, str], str]) -> str:
        return table(("method", *cases), [(line, *(cell(line, name) for name in cases)) for line in self.lines])

    def gate(self) -> str:
        lines = []
        for cases in self.sets:
            opened, median = self.resamples.share(self.risk(cases) >= GATE), np.median(self.risk(cases))
            shares = [f"{percent(share)} of {share.count}" for share in (self.missed(cases), self.let_through(cases))]
            lines.append((cases, percent(opened), f"{median:.2f}", *shares))
        shares = ["dangerous ones that it misses", "dangerous, of those below"]
        return table(("prompts", f"risk {GATE:g} or more", "median risk", *shares), lines)

    def other_gates(self) -> str:
        """A line a gate: what it would see of the dangerous prompts, and at how many benign ones it would open."""
        auc = self.results["gates"]["auc"]
        head = [f"{cases}: seen" for cases in self.sets] + [f"{name}: opens for nothing" for name in HARMLESS.values()]
        lines = []
        for gates in TOGETHER:
            name = " or ".join(gates) + (" (the pack's)" if gates == (WORDS,) else "")
            shares = (percent(self.seen_by(gates, cases)) for cases in (*self.sets, *HARMLESS))
            lines.append((name, ", ".join(f"{auc[gate]:.2f}" for gate in gates), *shares))
        return table(("risk of", "AUC of the anchors", *head), lines)

    def examples(self) -> str:
        shown = [
            (name, one["source"], one["attack"]) for name, each in self.results["examples"].items() for one in each
        ]
        return table(("search", "source", "attack"), shown)


def command(made: dict[str, Any]) -> str:
    """What makes these results, but for the search's own options, which are those of `made`."""
    words = [] if made["seed"] == SEED else [f"--seed {made['seed']}"]
    words += ["--methods", *(f'"{name}"' for name in made["methods"])] if made["methods"] else []
    return " ".join(["python run.py bench redteam", *words])


def text(results: RedTeamResults) -> str:
    made = results.results["made"]
    written = HERE / f"summary_{made['seed']}.md"  # by hand, from the tables of this seed
    values = {
        **made_of(made, evidence.sentences(made)),
        "sources": str(len(results.sets[SOURCE])),
        "summary": written.read_text("utf-8") if written.exists() and not made["quick"] else "",
        "anything": results.by_set(results.sets, lambda *row: percent(results.rate(*row))),
        "gains": results.by_set(results.searches, lambda *row: points(results.gain(*row))),
        "source_thing": results.by_set(results.sets, lambda *row: percent(results.rate(*row, "unsafe"))),
        "gate": results.gate(),
        "other_gates": results.other_gates(),
        "nearer": table(
            ("search", "loss after / loss of the best random text"),
            [(cases, percent(results.nearer(cases))) for cases in results.searches],
        ),
        "examples": results.examples(),
        "command": command(made),
        **{"seen": f"{SEEN:g}", "resamples": f"{RESAMPLES}", "least_auc": f"{LEAST_AUC:g}"},
    }
    return report((HERE / "report.md").read_text("utf-8"), values)


def publish(results: dict[str, Any], folder: Path) -> None:
    """redteam.md in `folder`."""
    (folder / "redteam.md").write_text(text(RedTeamResults(results)), encoding="utf-8")
