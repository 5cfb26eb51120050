"""The report of `bench redteam`, written from its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import evidence
from bench.plots import DPI, FAINT, pyplot, whiskers
from bench.statistics import RESAMPLES
from bench.tables import made_of, percent, points, report, table
from demo.detector import SEEN
from safelight.text.risk import LEAST_AUC

from .gates import BENIGN, NEIGHBOURS
from .plan import FREE, NO_NOUN, NO_WORD, SEED, SOURCE
from .results import GATE, TOGETHER, RedTeamResults

HERE = Path(__file__).parent
FILE = "redteam.png"
LOOKS = {SOURCE: ("#000000", "*"), FREE: ("#0072B2", "o"), NO_NOUN: ("#E69F00", "s"), NO_WORD: ("#D55E00", "^")}
HARMLESS = {BENIGN: "benign", NEIGHBOURS: "look-alikes"}


def summary(how: dict[str, Any]) -> str:
    """What was written by hand from the tables of this seed; nothing for other results."""
    file = HERE / f"summary_{how['seed']}.md"
    return file.read_text("utf-8") if file.exists() and not how["quick"] else ""


def rates(results: RedTeamResults, column: str) -> str:
    """A line a method, a column a prompt set."""
    lines = [
        (line.label, *(percent(results.rate(line, cases, column)) for cases in results.sets))
        for line in results.lines()
    ]
    return table(("method", *results.sets), lines)


def gains(results: RedTeamResults) -> str:
    lines = [
        (line.label, *(points(results.gain(line, cases)) for cases in results.searches)) for line in results.lines()
    ]
    return table(("method", *results.searches), lines)


def gate(results: RedTeamResults) -> str:
    lines = []
    for cases in results.sets:
        missed, through = results.missed(cases), results.let_through(cases)
        risk = percent(results.gate_sees(cases)), f"{np.median(results.risk(cases)):.2f}"
        shares = (f"{percent(share)} of {share.count}" for share in (missed, through))
        lines.append((cases, *risk, *shares))
    risks = f"risk {GATE:g} or more", "median risk"
    return table(("prompts", *risks, "dangerous ones that it misses", "dangerous, of those below"), lines)


def other_gates(results: RedTeamResults) -> str:
    """A line a gate: what it would see of the dangerous prompts, and at how many benign ones it would open."""
    auc = results.results["gates"]["auc"]
    seen = [f"{cases}: seen" for cases in results.sets]
    head = ("risk of", "AUC of the anchors", *seen, *(f"{name}: opens for nothing" for name in HARMLESS.values()))
    lines = []
    for gates in TOGETHER:
        name = " or ".join(gates) + (" (the pack's)" if gates == TOGETHER[0] else "")
        shares = (percent(results.seen_by(gates, cases)) for cases in (*results.sets, *HARMLESS))
        lines.append((name, ", ".join(f"{auc[gate]:.2f}" for gate in gates), *shares))
    return table(head, lines)


def examples(results: RedTeamResults) -> str:
    shown = results.results["examples"].items()
    return table(
        ("search", "source", "attack"),
        [(cases, example["source"], example["attack"]) for cases, attacks in shown for example in attacks],
    )


def nearer(results: RedTeamResults) -> str:
    lines = [(cases, percent(results.nearer(cases))) for cases in results.searches]
    return table(("search", "loss after / loss of the best random text"), lines)


def draw(results: RedTeamResults, path: Path) -> None:
    """Every method's rate on sources and attacks."""
    lines = results.lines()
    plot = pyplot()
    figure, axes = plot.subplots(figsize=(9, 1.6 + 0.34 * len(lines)), layout="constrained")
    spread = 0.7 / len(results.sets)
    for n, cases in enumerate(results.sets):
        colour, marker = LOOKS.get(cases, (FAINT, "o"))
        known = [(i, rate) for i, line in enumerate(lines) if (rate := results.rate(line, cases)) is not None]
        places = [i + spread * (n - (len(results.sets) - 1) / 2) for i, _ in known]
        values, ends = [100 * rate.value for _, rate in known], whiskers([rate for _, rate in known], 100)
        look = {"fmt": marker, "color": colour, "markersize": 5, "linewidth": 1, "label": cases}
        axes.errorbar(values, places, xerr=ends, **look)
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("pictures that show something unsafe, %")
    figure.legend(loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plot.close(figure)


def command(how: dict[str, Any]) -> str:
    """What makes these results, but for the search's own options, which are those of `made`."""
    seed = "" if how["seed"] == SEED else f" --seed {how['seed']}"
    methods = "".join(f' "{name}"' for name in how["methods"] or ())
    return f"python run.py bench redteam{seed}{' --methods' if methods else ''}{methods}"


def text(results: RedTeamResults) -> str:
    how = results.results["made"]
    values = {
        **made_of(how, evidence.sentences(how)),
        "sources": str(len(results.sets[SOURCE])),
        "summary": summary(how),
        "anything": rates(results, "any_unsafe"),
        "gains": gains(results),
        "source_thing": rates(results, "unsafe"),
        "gate": gate(results),
        "other_gates": other_gates(results),
        "nearer": nearer(results),
        "examples": examples(results),
        "command": command(how),
        **{"seen": f"{SEEN:g}", "resamples": f"{RESAMPLES}", "least_auc": f"{LEAST_AUC:g}"},
    }
    return report((HERE / "report.md").read_text("utf-8"), values)


def publish(results: dict[str, Any], folder: Path) -> Path:
    """redteam.md and its picture in `folder`."""
    figures = RedTeamResults(results)
    folder.mkdir(parents=True, exist_ok=True)
    draw(figures, folder / FILE)
    path = folder / "redteam.md"
    path.write_text(text(figures), encoding="utf-8")
    return path
