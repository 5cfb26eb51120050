"""The report of `bench safety`, and the tables of README and docs/evidence.md, written from the results alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import evidence
from bench.statistics import CERTAIN, RESAMPLES, Estimate, Resamples, Standing, difference
from bench.tables import NONE, columns_table, made_of, number, percent, points, recorded, report, signed, table, times
from demo import world
from demo.detector import HALF_SEEN, SEEN

from . import loop_report, plots
from .plan import BENIGN_SETS, IMAGE, IMPLICIT, SEED, SLIDER_FAMILIES
from .results import COSTS, LOOP, NEAR, PLAIN, REWRITE, SLIDERS, Place, Row, SafetyResults
from .targets import targets

HERE = Path(__file__).parent
BLOCK = re.compile(r"(<!-- evidence:begin -->\n).*?(<!-- evidence:end -->)", re.DOTALL)
FRONT = "![Unsafe seen against layout kept and against distance, for every method]({})"
NAMES = {"benign": "benign", "neighbours": "look-alikes"}  # of the benign sets, in words
KEPT, DISTANCES = ("benign kept", "background kept", "layout kept"), COSTS[1:]
HEADLINERS = (
    "TraSCE",
    "CRG",
    "SAFREE released",
    "AdaVD",
    "GIE",
    "UCE",
    "RECE",
    "redaction network",
    "Safe-CLIP",
    "Safe Adapter",
    "SDD",
    "ESD",
)
HEADLINE: tuple[Place, ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("CASG", 2.5)),
    *((method, 1.0) for method in HEADLINERS),
    *((method, x) for method in SLIDERS for x in (0.5, 0.75, 1.0)),
    *((LOOP, x) for x in (0.75, 1.0)),
)
BEST = 2  # related methods in README's table
CONFUSED: tuple[Place, ...] = ((PLAIN, None), ("CASG", 1.0), (REWRITE, 0.5), (REWRITE, 1.0))

Columns = dict[str, Callable[[Row], str]]
ROW: Columns = {"method": lambda row: row.name, "setting": lambda row: row.setting}
COST: Columns = {
    "rows": lambda row: times(row.data["relative_rows"]),
    "time": lambda row: times(row.data["relative_time"]),
}


def written(measure: str, figure: Estimate | None, interval: bool = True) -> str:
    return number(figure, interval=interval) if "distance" in measure else percent(figure, interval)


def measured(*measures: str, interval: bool = True, keep: np.ndarray | None = None) -> Columns:
    """Columns of measures. keep: the prompts that count."""

    def cell(name: str) -> Callable[[Row], str]:
        return lambda row: written(name, row.figure(name, keep) if row.has(name) else None, interval)

    return {name: cell(name) for name in measures}


def seen_and_kept(rows: Sequence[Row]) -> str:
    return columns_table(
        rows, ROW | measured("unsafe seen", "half seen", "named thing seen", "malformed", "uninvited twin", *KEPT)
    )


def cost(results: SafetyResults) -> str:
    def diversity(row: Row) -> str:
        twin = results.find(row.method, row.x, "diversity")
        return recorded(twin and twin.data["diversity"], 2)

    spread: Columns = {"covariance distance": lambda row: recorded(row.data["covariance"]), "diversity": diversity}
    return columns_table(results.of(), ROW | measured(*DISTANCES) | spread | COST)


def groups(results: SafetyResults) -> str:
    """Unsafe seen by how the prompt names it, for the methods of the headline."""
    seen = {f"{name} ({mask.sum()})": measured("unsafe seen", keep=mask) for name, mask in results.groups().items()}
    columns = {"method": lambda row: row.label} | {name: column["unsafe seen"] for name, column in seen.items()}
    return columns_table(results.at(*HEADLINE), columns)


def benign(results: SafetyResults) -> str:
    """Rows on the two benign sets, and of their prompts those that name a held-out thing."""
    measures, lines = ("bit-identical", *KEPT, *DISTANCES), []
    for cases in BENIGN_SETS:
        held = np.array([case["held_out"] for case in results.sets[cases]], dtype=bool)
        for name, keep in (("", np.ones_like(held)), (", held-out things", held)):
            who = f"{NAMES[cases]}{name} ({int(keep.sum())})"
            cells = measured(*measures, keep=keep).values()
            rows = results.of(cases) if keep.any() else []
            lines += [[row.gated_label, who, *(cell(row) for cell in cells)] for row in rows]
    return table(["method", "prompts", *measures], lines)


def indices(results: SafetyResults) -> str:
    values = [(row, results.index(row, row.gated)) for row in results.of("benign") if row.method != PLAIN]
    lines = [(row.gated_label, number(value, 4)) for row, value in values if value]
    return table(("method", "proximal-disruption index"), lines)


def confusions(results: SafetyResults, rows: Sequence[Row]) -> str:
    """Of the prompts that name a category, how many pictures show each."""
    named, shown = results.kinds
    lines = [
        (row.label, kind, *(f"{100 * share:.0f} %" for share in shares))
        for row in rows
        for kind, shares in zip(named, results.confusion(row), strict=True)
    ]
    return table(("method", "the prompt names", *(f"{kind} seen" for kind in shown), "none of them"), lines)


def edits(results: SafetyResults) -> str:
    """What solving or training takes and brings, at strength 1, and the dual default beside it."""

    def line(row: Row) -> list[str]:
        label, made = f"{row.label}, with its gate", [NONE, NONE]
        if price := results.edits.get(row.method):
            seconds, label = price["seconds"], row.label
            made = [
                f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min",
                f"{price['bytes'] / 1000:.0f} kB",
            ]
        twins = [(results.find(row.method, 1.0, cases), name) for cases in BENIGN_SETS for name in harmless]
        beside = [NONE if twin is None else written(name, twin.figure(name)) for twin, name in twins]
        return [label, *made, *(written(name, row.figure(name)) for name in unsafe), *beside]

    unsafe, harmless = ("unsafe seen", "layout kept"), ("benign kept", "layout kept", "distance (features)")
    titles = [f"{NAMES[cases]}: {name.removesuffix(' (features)')}" for cases in BENIGN_SETS for name in harmless]
    rows = results.at(*((method, 1.0) for method in (*results.edits, REWRITE))) if results.edits else []
    return table(["method", "to make", "file", *unsafe, *titles], map(line, rows))


def refused(results: SafetyResults) -> str:
    """Prompts for which a method's node asks for a safe prompt instead of drawing."""
    lines = [
        f"{row.gated_label} on {row.data['set']}: {int(row.column('refused').sum())} of {len(row.column('refused'))}"
        for row in results.rows
        if "refused" in row.data["columns"]
    ]
    if not lines:
        return "No method refused a prompt."
    return f"Prompts that a method refused, which count as showing nothing and keeping nothing: {'; '.join(lines)}."


def overview(results: SafetyResults) -> str:
    """The table at the top, and that of docs/evidence.md."""

    def over_benign(measure: str, gated: Callable[[Row], bool]) -> Callable[[Row], str]:
        return lambda row: written(measure, results.over_benign(row, gated(row), measure), False)

    columns: Columns = {
        "": lambda row: row.label,
        **measured("unsafe seen"),
        **measured("layout kept"),
        **measured("malformed", "uninvited twin", "benign kept", interval=False),
        "distance": measured("distance (features)", interval=False)["distance (features)"],
        **COST,
        "benign prompts: bit-identical, with its gate": over_benign(
            "bit-identical", lambda row: row.family in SLIDER_FAMILIES
        ),
        "distance without a gate": over_benign("distance (features)", lambda row: False),
    }
    return columns_table(results.at(*HEADLINE), columns)


def counted(results: SafetyResults) -> str:
    """What a person counted in some of the pictures beside what the measures say of the same ones."""
    lines = []
    for part in ("chosen", "checked"):
        for measure, rows, person, own in results.counted(part):
            for row in [None, *dict.fromkeys(rows)] if part == "checked" else [None]:
                of = np.array([row in (None, each) for each in rows])
                resamples = Resamples(int(of.sum()))
                shares = [percent(resamples.share(flags[of])) for flags in (person, own, person == own)]
                missed, alarms = int((person & ~own & of).sum()), int((own & ~person & of).sum())
                lines.append((part, measure, row or "all", str(of.sum()), *shares, str(missed), str(alarms)))
    return table(("pictures", "", "row", "", "by a person", "by the measure", "agree", "missed", "false alarms"), lines)


# -- at equal cost -----------------------------------------------------------------------------------------------------


def verdict(against: Estimate) -> str:
    """Of a related method's share of unsafe seen, less the slider's."""
    return "ahead" if against.high < 0 else "behind" if against.low > 0 else "level"


def related(results: SafetyResults, method: str) -> str:
    """Every related method at every setting beside a dual method's slider, at equal cost."""

    def column(cost: str) -> Callable[[Row], str]:
        compare = results.beside_slider(method, cost)

        def cell(row: Row) -> str:
            against, beyond = compare(row)
            return f"{verdict(against)}: {points(against)}" + (", beyond the slider's end" if beyond else "")

        return cell

    columns: Columns = {"related method": lambda row: row.label, **measured("unsafe seen")}
    columns |= {f"equal {cost.removesuffix(' kept')}": column(cost) for cost in COSTS}
    return columns_table(results.related(), columns)


def slider(results: SafetyResults) -> str:
    """Every position of the dual methods' sliders: on the front, or behind what."""

    def column(cost: str) -> Callable[[Row], str]:
        front = results.front(cost)
        others, places = [row for row, _ in front], dict(front)
        return lambda row: _place(row, places[row], others, cost)

    columns: Columns = {"": lambda row: row.label} | {cost.removesuffix(" kept"): column(cost) for cost in COSTS}
    return columns_table([row for method in SLIDERS for row in results.slider(method) if row.x], columns)


def _place(row: Row, standing: Standing, others: Sequence[Row], cost: str) -> str:
    """Where a slider position stands; where it is not on the front, behind whom and by what."""
    if not standing.by:
        return f"on the front ({100 * standing.on_front:.0f} %)"
    other = others[standing.by[0]]
    fewer, gap = (difference(other.figure(name), row.figure(name)) for name in ("unsafe seen", cost))
    distance = f"distance {signed(gap.value, 3)} ({signed(gap.low, 3)} to {signed(gap.high, 3)})"
    less = f"layout {points(gap)}" if cost == "layout kept" else distance
    sure = "surely" if standing.support[0] >= CERTAIN else f"in {100 * standing.support[0]:.0f} % of resamples"
    return f"behind {other.label}, {sure}: unsafe seen {points(fewer)}, {less}"


def loop(results: SafetyResults) -> str:
    """The tables of the loop, each with what it is of; a table that is empty has no title."""
    tables = {
        "Targets. Reached or not is said of the value, not of its interval.": targets(results),
        "Named.": loop_report.looked(results, "unsafe"),
        "One unsafe thing alone.": loop_report.looked(results, "alone"),
        "Implicit.": loop_report.looked(results, IMPLICIT),
        "Unsafe seen on implicit prompts, in parts.": loop_report.held_out(results),
        "Harmless prompts.": loop_report.alarms(results),
        "On the front, named: beside every setting of every other method, then beside these in a loop too.": (
            loop_report.fronts(results, "unsafe", _place)
        ),
        "On the front, implicit.": loop_report.fronts(results, IMPLICIT, _place),
        "Rows after a run of the same prompt and noise at another position of the slider, as a share of those that the "
        "run needs by itself: the node remembers.": loop_report.second(results),
    }
    return "\n\n".join(f"**{title}**\n\n{table}" for title, table in tables.items() if table)


# -- the report --------------------------------------------------------------------------------------------------------


def summary(results: SafetyResults) -> str:
    """What was written by hand from the table of the full run; nothing for other results."""
    whole = (results.made["seed"], results.made["quick"]) == (SEED, False)
    return (HERE / "summary.md").read_text("utf-8") if whole else ""


def text(results: SafetyResults, files: dict[str, str]) -> str:
    """The whole report. files: of the pictures "front", "front_implicit" and "examples", empty where there is none."""
    sizes = [f"{len(cases)} {NAMES.get(name, name)}" for name, cases in results.sets.items() if cases]
    beside = [f"Beside {name}:\n\n{related(results, name)}" for name in SLIDERS if results.slider(name)]
    values = {
        **made_of(results.made, evidence.sentences(results.made)),
        **files,
        **{"sizes": ", ".join(sizes), "summary": summary(results), "headline": overview(results)},
        **{"slider_table": slider(results), "related": "\n\n".join(beside), "cost": cost(results)},
        **{"seen_and_kept": seen_and_kept(results.of()), "implicit": seen_and_kept(results.of(IMPLICIT))},
        **{"loop": loop(results), "refused": refused(results)},
        **{"groups": groups(results), "benign_table": benign(results), "indices": indices(results)},
        **{"edits": edits(results), "image_to_image": seen_and_kept(results.of(IMAGE))},
        **{"alone": seen_and_kept(results.of("alone")), "counted": counted(results)},
        "confusions": confusions(results, results.at(*CONFUSED)),
        "redrawn": "not measured" if results.redrawn is None else f"{results.redrawn:.3f}",
        **{"seen": f"{SEEN:g}", "half": f"{HALF_SEEN:g}", "near": f"{NEAR:g}"},
        **{"resamples": f"{RESAMPLES}", "certain": f"{100 * CERTAIN:.0f}", "words": f"{len(world.vocabulary())}"},
    }
    return report((HERE / "report.md").read_text("utf-8"), values)


def headline(results: SafetyResults, folder: str = "../bench/results") -> str:
    """The block of docs/evidence.md. folder: where the report is, seen from there."""
    benign = sum(len(results.sets[cases]) for cases in BENIGN_SETS)
    parts = [
        f"{len(results.sets['unsafe'])} unsafe and {benign} benign prompts; 95 % intervals in brackets. Every figure, "
        f"with its definition: [the report]({folder}/safety.md).",
        overview(results),
        FRONT.format(f"{folder}/{plots.FRONTS['unsafe']}"),
        "*Left and up is better; whiskers are 95 % intervals, a number stands at a line's strongest end.*",
        summary(results).strip(),
    ]
    return "\n\n".join(filter(None, parts))


def brief(results: SafetyResults, folder: str = "bench/results") -> str:
    """README's block: a few rows, and of the related methods the BEST that leave least at their published strength."""
    first, last = results.at((PLAIN, None), ("negative prompt", None)), results.at((REWRITE, 1.0), (LOOP, 1.0))
    others = [row for row in results.related() if (row.method, row.x) in HEADLINE and row.x == 1]
    best = sorted(others, key=lambda row: row.figure("unsafe seen").value)[:BEST]
    benign = "harmless prompts: same picture, bit for bit"
    columns: Columns = {
        "": lambda row: row.label,
        **measured("unsafe seen", "layout kept"),
        benign: lambda row: percent(results.over_benign(row, row.family in SLIDER_FAMILIES, "bit-identical"), False),
        "rows": COST["rows"],
    }
    table = columns_table([*first, *best, *last], columns)
    prompts = f"{len(results.sets['unsafe'])} prompts that name something unsafe"
    return f"{table}\n\n{prompts}, on the small model; 95 % intervals in brackets ([the report]({folder}/safety.md))."


BLOCKS = {"README.md": brief, "docs/evidence.md": headline}  # what stands between the marks of which page


def publish(
    results: dict[str, Any], folder: Path, root: Path | None = None, pictures: plots.Pictures | None = None
) -> Path:
    """safety.md and its pictures in `folder`, and the blocks of the pages in `root` between their marks; without
    `pictures` the grid of examples that is there stays."""
    table, path = SafetyResults(results), folder / "safety.md"
    folder.mkdir(parents=True, exist_ok=True)
    for cases, name in plots.FRONTS.items():
        if table.of(cases):
            plots.front(table, folder / name, cases)
    if pictures is not None:
        plots.examples(table, pictures, folder / plots.EXAMPLES)
    names = {"front": plots.FRONTS["unsafe"], "front_implicit": plots.FRONTS[IMPLICIT], "examples": plots.EXAMPLES}
    files = {each: name if (folder / name).exists() else "" for each, name in names.items()}
    path.write_text(text(table, files), encoding="utf-8")
    for name, block in BLOCKS.items() if root is not None else ():
        _put(root / name, block(table, Path(os.path.relpath(folder, (root / name).parent)).as_posix()))
    return path


def _put(page: Path, block: str) -> None:
    """Writes the block of a page between its marks."""
    said, places = BLOCK.subn(lambda marks: f"{marks[1]}{block}\n{marks[2]}", page.read_text("utf-8"))
    if not places:
        raise ValueError(f"{page.name}: expected <!-- evidence:begin --> ... <!-- evidence:end -->, got neither.")
    page.write_text(said, encoding="utf-8")
