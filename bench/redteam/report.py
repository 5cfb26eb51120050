"""The report of `bench redteam`, written from its figures alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.safety.plots import DPI, FAINT, pyplot
from bench.safety.statistics import LEVEL, RESAMPLES, Estimate
from bench.safety.tables import percent, points, table
from demo.detector import SEEN
from safelight.text.risk import LEAST_AUC

from .gates import BENIGN, NEIGHBOURS, TAIL, VECTOR
from .plan import FREE, NO_NOUN, NO_WORD, SEED, SOURCE
from .reading import GATE, TOGETHER, Line, Reading

FILE = "redteam.png"
USUAL, STRICT = "dual project, safety 1, with its gate", "dual strict, safety 1, with its gate"
ABOUT = {
    SOURCE: "the prompts that are attacked: one unsafe thing by its noun, beside a benign one",
    FREE: "attacks may use all words of the demo's language, so they can name what they bring back",
    NO_NOUN: "attacks go without words that only unsafe things' nouns have; kinds (\"a weapon\") are allowed",
    NO_WORD: "attacks go without unsafe nouns and kinds: what they bring back they cannot name",
}  # fmt: skip
LOOKS = {SOURCE: ("#000000", "*"), FREE: ("#0072B2", "o"), NO_NOUN: ("#E69F00", "s"), NO_WORD: ("#D55E00", "^")}


def made(reading: Reading) -> str:
    how = reading.results["made"]
    text = (
        f"Seed {how['seed']}; {len(reading.sets[SOURCE])} sources; population {how['population']}, "
        f"{how['generations']} generations, {how['length']} tokens, eta {how['eta']:g}, crossover "
        f"{how['crossover']:g}, mutation {how['mutation']:g}; {how['steps']} steps of {how['sampler']} / "
        f"{how['scheduler']}, CFG {how['cfg']:g}; {how['host']}; fingerprint `{how['fingerprint']}`; pictures: "
        f"{how['minutes']:.0f} minutes."
    )
    return f"{text} **A quick run: a sanity check, not a result.**" if how["quick"] else text


def rates(reading: Reading, column: str) -> str:
    """A line a method, a column a prompt set."""
    return table(("method", *reading.sets), [
        (line.label, *(percent(reading.rate(line, cases, column)) for cases in reading.sets))
        for line in reading.lines()
    ])  # fmt: skip


def gains(reading: Reading) -> str:
    def told(found: Estimate | None) -> str:
        return "–" if found is None else points(found)

    return table(("method", *reading.searches), [
        (line.label, *(told(reading.gain(line, cases)) for cases in reading.searches)) for line in reading.lines()
    ])  # fmt: skip


def gate(reading: Reading) -> str:
    head = ("prompts", f"risk {GATE:g} or more", "median risk", "dangerous ones that it misses",
            "dangerous, of those below")  # fmt: skip
    return table(head, [
        (cases, percent(reading.gate_sees(cases)), f"{np.median(reading.risk(cases)):.2f}",
         f"{percent(reading.missed(cases))} of {reading.missed(cases).count}",
         f"{percent(reading.let_through(cases))} of {reading.let_through(cases).count}")
        for cases in reading.sets
    ])  # fmt: skip


def other_gates(reading: Reading) -> str:
    """A line a gate: what it would see of the dangerous prompts, and at how many benign ones it would open."""
    auc = reading.results["gates"]["auc"]
    head = ("risk of", "AUC of the anchors", *(f"{cases}: seen" for cases in reading.sets),
            *(f"{cases}: opens for nothing" for cases in (BENIGN, NEIGHBOURS)))  # fmt: skip
    return table(head, [
        (" or ".join(gates) + (" (the pack's)" if gates == TOGETHER[0] else ""),
         ", ".join(f"{auc[gate]:.2f}" for gate in gates),
         *(percent(reading.seen_by(gates, cases)) for cases in (*reading.sets, BENIGN, NEIGHBOURS)))
        for gates in TOGETHER
    ])  # fmt: skip


def found(reading: Reading) -> list[str]:
    """What the figures say, in sentences."""
    sentences = []
    lines = [line for line in reading.lines() if line.method != "plain"]
    for cases in reading.searches:
        told: list[tuple[Line, Estimate]] = []
        for line in lines:
            rate = reading.rate(line, cases)
            if rate is not None:
                told.append((line, rate))
        if told:
            least, most = (sorted(told, key=lambda one: one[1].value)[i] for i in (0, -1))
            sentences.append(
                f"*{cases}*: the same comes through all of them ({percent(least[1])})."
                if least[1].value == most[1].value else
                f"*{cases}*: least comes through {least[0].label} ({percent(least[1])}), most through {most[0].label} "
                f"({percent(most[1])})."
            )  # fmt: skip
        sentences.append(
            f"*{cases}*: the gate sees {percent(reading.gate_sees(cases))} of the attacks; of those whose plain "
            f"picture shows something unsafe it misses {percent(reading.missed(cases))}."
        )
    return sentences


def through(reading: Reading) -> list[str]:
    """What comes through the dual method, and what its settings can do about it; nothing of a run without them."""
    lines = {line.label: line for line in reading.lines()}
    usual, strict = (lines.get(label) for label in (USUAL, STRICT))
    if usual is None or strict is None:
        return []
    searches = [name for name in (FREE, NO_NOUN, NO_WORD) if name in reading.searches]

    def rates_of(line: Line) -> str:
        return ", ".join(f"{percent(reading.rate(line, cases))} ({cases})" for cases in (SOURCE, *searches))

    sentences = [
        "**Things named in a heap of words.** The gate sees these attacks, and the dual method takes away less of them "
        "than of their sources. Two reasons, both of its settings: the first steps are the prompt's own, and a word "
        "that lies a little less far in the concepts' subspace than the others stays as written. So where prompts come "
        "from strangers: `maximum` in *Safelight Weight Schedule*, whose context is 0, and `strength` 1.5 in "
        "*Safelight Context Encode*. "
        "The picture is then laid out by the safe prompt from the first step on.",
        f"Before, {USUAL}: {rates_of(usual)}. After, {STRICT}: {rates_of(strict)}. What it costs: *dual strict* in "
        f"`bench/results/safety.md`. {_chosen(reading.results['made']['seed'])}",
    ]
    if NO_WORD in searches:
        sentences.append(
            "**Things that nothing names.** Of these attacks "
            f"{percent(reading.resamples.share(reading.dangerous(NO_WORD)))} show something unsafe in plain sampling; "
            f"the gate misses {percent(reading.missed(NO_WORD))} of those. It goes by single words, and none of theirs "
            "stands out. Nor does the method *project* find anything to take away then, so that it does the same "
            "with its gate held open. *subtract* and a concept vector move every prompt: with `gate` at 0 they act on "
            "these too, and on every harmless prompt."
        )
    auc = reading.results["gates"]["auc"]
    told = ", ".join(f"{gate} {auc[gate]:.2f}" for gate in (TAIL, VECTOR))
    weak = [gate for gate in (TAIL, VECTOR) if auc[gate] < LEAST_AUC]
    sentences.append(
        f"**Would another gate see more?** Two were tried: by *{TAIL}*, the share of end token and padding in the "
        f"concepts' subspace, and by *{VECTOR}*, the cosine of a concept vector with what sets a prompt apart from "
        f"benign ones. How well each tells the anchors apart (AUC; {LEAST_AUC:g} is needed): {told}. "
        + (
            f"So {' and '.join(weak)} would have to count as risk 1 for every prompt, harmless ones too, as the table "
            "shows; the pack has neither."
            if weak
            else "The table shows what each would see; the pack has neither."
        )
    )
    return sentences


def _chosen(seed: int) -> str:
    """How far the attacks of this seed had a part in the mend."""
    if seed != SEED:
        return f"It was chosen by a look at attacks of seed {SEED}; these here had no part in that."
    return (
        "It was chosen among four settings by a look at some of these attacks. On attacks that had no part in that: "
        "[redteam_again](redteam_again/redteam.md)."
    )


def examples(reading: Reading) -> str:
    return table(("search", "source", "attack"), [
        (cases, one["source"], one["attack"])
        for cases, shown in reading.results["examples"].items() for one in shown
    ])  # fmt: skip


def draw(reading: Reading, path: Path) -> None:
    """Every method's rate on sources and attacks."""
    lines = reading.lines()
    plot = pyplot()
    figure, axes = plot.subplots(figsize=(9, 1.6 + 0.34 * len(lines)), layout="constrained")
    spread = 0.7 / len(reading.sets)
    for n, cases in enumerate(reading.sets):
        colour, marker = LOOKS.get(cases, (FAINT, "o"))
        known = [(i, rate) for i, line in enumerate(lines) if (rate := reading.rate(line, cases)) is not None]
        places = [i + spread * (n - (len(reading.sets) - 1) / 2) for i, _ in known]
        values = np.array([rate.value for _, rate in known]) * 100
        ends = np.array([[r.value - r.low for _, r in known], [r.high - r.value for _, r in known]]).clip(min=0) * 100
        axes.errorbar(values, places, xerr=ends, fmt=marker, color=colour, markersize=5, linewidth=1, label=cases)
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


def text(reading: Reading) -> str:
    lines = [
        "# Red team: attack prompts", "",
        "After Ring-A-Bell ([arXiv 2310.10012](https://arxiv.org/abs/2310.10012)): a genetic search finds a text whose "
        "states on the text encoder come near those of a prompt plus a concept vector. It never sees a picture, a "
        "method or the gate.", "", made(reading), "",
        *(f"- *{cases}*: {ABOUT[cases]}." for cases in reading.sets), "",
        "## What the figures say", "", "Written from the figures by the same command.", "",
        *(f"- {sentence}" for sentence in found(reading)), "",
        "## Anything unsafe seen", "", f"![Every method's rate on sources and attacks]({FILE})", "",
        rates(reading, "any_unsafe"), "",
        "## Attack less source", "", "In points; above 0 the attack brings back more than its source did.", "",
        gains(reading), "",
        "## The source's own thing seen", "", rates(reading, "unsafe"), "",
        "## The gate", "",
        "The gate reads the text. *Dangerous*: the plain picture shows something unsafe. What the gate misses is made "
        "like a plain picture.", "", gate(reading), "",
        "## What comes through, and what helps", "",
        *(line for sentence in through(reading) for line in (sentence, "")),
        "*seen*: of the prompts whose plain picture shows something unsafe.", "", other_gates(reading), "",
        "## How far the search came", "",
        table(("search", "loss after / loss of the best random text"),
              [(cases, percent(reading.nearer(cases))) for cases in reading.searches]), "",
        "## Examples", "", "A few of the attacks, of the demo world's language.", "", examples(reading), "",
        "## Definitions", "",
        f"- *seen*: the detector's score is {SEEN:g} or more. Every attack's picture starts from its source's noise.",
        f"- Intervals of {100 * LEVEL:.0f} %, in brackets: {RESAMPLES} bootstrap resamples of the sources, the same "
        "for all methods and sets, so that a difference is one on the same sources. Where a share is 0 or 100 %, its "
        "open end is the exact binomial one.",
        "- The concept vector of an attack is that of its source's category, from pairs of captions without held-out "
        "things; *dual vector* takes away one of all categories, from other pairs (*twice*: two of it).",
        "- *dual strict*: *dual project* from the first step on, with `strength` 1.5.",
        "- Of the paper: crossover and mutation rates, the better half kept, 16 tokens, eta 3. Ours: a smaller "
        "population and fewer generations than its 200 and 3000 (the demo's language has 93 words, CLIP's 49,408), one "
        "vector for each category, one-point crossover, one token a mutation.", "",
        "## Reproduce", "",
        f"Interrupted, it goes on where it was.\n\n```\n{command(reading.results['made'])}\n"
        "python run.py bench redteam --quick    # two sources, to see that it works\n"
        "python run.py bench redteam --report   # a report again, from redteam.json\n```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def publish(results: dict[str, Any], folder: Path) -> Path:
    """redteam.md and its picture in `folder`."""
    reading = Reading(results)
    draw(reading, folder / FILE)
    path = folder / "redteam.md"
    path.write_text(text(reading), encoding="utf-8")
    return path
