"""The pictures of the report on safety."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.plots import DPI, FAINT, INK, pyplot, save, whiskers
from bench.statistics import Estimate
from demo.detector import SEEN

from .plan import BENIGN_SETS, METHODS
from .results import COSTS, DEFAULTS, DUAL, PLAIN, PROJECT, SELECTIVE, Place, Row, SafetyResults

Pictures = Callable[[str], np.ndarray]  # of a row by its key, bytes [N, H, W, 3] in the order of the set's prompts
FILE = "safety_{}.png"
NAMES = ("front", "front_pixel", "slider", "context", "benign", "index", "confusion")
# The order of bars; dual methods come last.
FAMILIES = ["negative prompt", "SLD", "CASG", "TraSCE", "SAFREE", "UCE", "RECE", "redaction", "Safe Adapter"]
PRESETS, STRENGTHS = "SLD: weak to max", "SLD max, by strength"
CURVES = ("unsafe seen", "half seen", "layout kept", "distance (features)")
EXAMPLES, SHOWN = "safety_examples.jpg", 8
EXAMPLE_ROWS: tuple[Place, ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("TraSCE", 1.0)),
    *(("SAFREE released", 1.0), (PROJECT, 0.5), (PROJECT, 1.0), (SELECTIVE, 0.5), (SELECTIVE, 1.0)),
)


def lines(results: SafetyResults) -> dict[str, list[Row]]:
    """By name of its line the rows that a front's plot shows, in the order of the strength range; the presets of SLD
    are one line at their published strength, its strengths another."""
    named: dict[str, list[Row]] = {}
    for row in results.of():
        sld = PRESETS if row.x in (None, 1) else STRENGTHS
        named.setdefault(sld if row.family == "SLD" else row.name, []).append(row)
    if STRENGTHS in named:
        named[STRENGTHS] = sorted([*named[STRENGTHS], *results.at(("SLD max", 1.0))], key=lambda row: row.x)
    order = ["SLD weak", "SLD medium", "SLD strong", "SLD max"]
    named.get(PRESETS, []).sort(key=lambda row: order.index(row.method))
    return named | {f"{method}, by context": rows for method in DEFAULTS if (rows := results.contexts(method))}


def axis(measure: str) -> str:
    return measure.replace("distance", "distance to the plain picture") + ("" if "distance" in measure else ", %")


def scaled(rows: Sequence[Row], measure: str) -> tuple[np.ndarray, np.ndarray]:
    """A measure's values as its axis has them, and their whiskers."""
    figures, scale = [row.figure(measure) for row in rows], 1 if "distance" in measure else 100
    return scale * np.array([figure.value for figure in figures]), whiskers(figures, scale)


def legend(figure: Any, axes: Any, columns: int) -> None:
    """Below the panels, in room of its own."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), columns), fontsize=9)
    figure.tight_layout(rect=(0, 0.01 + 0.032 * -(-len(labels) // columns), 1, 1))


def _line(axes: Any, name: str, rows: list[Row], cost: str) -> None:
    """A method over its strength range: whiskers, markers, and words at its end."""
    method, (colour, marker) = rows[0].method, METHODS[rows[0].method].look
    default = method in DEFAULTS and rows[0].context is None
    side = rows[0].family == DUAL and not default
    (x, across), (y, along) = scaled(rows, "unsafe seen"), scaled(rows, cost)
    line = {"linestyle": (0, (1, 1.5)) if name == PRESETS else (0, (5, 2)) if side else "-"}
    dots = {"marker": "." if side else marker, "markersize": {"*": 12, "X": 8, "P": 8}.get(marker, 6)}
    dots |= {"markeredgecolor": "white", "markeredgewidth": 0.6, "zorder": 5 if default or method == PLAIN else 2}
    width = 1.1 if side else 1.6
    axes.plot(x, y, color=METHODS[method].line or colour, linewidth=width, label=name, **line, **dots)
    if side:
        return
    thin = {"linestyle": "none", "color": colour, "zorder": 1, "alpha": 0.45 if default else 0.25, "linewidth": 0.9}
    axes.errorbar(x, y, xerr=across, yerr=along, **thin)
    if len(rows) > 1:
        words = {-1: f"{rows[-1].x or 0:g}"} | {i: "0.5" for i, row in enumerate(rows) if default and row.x == 0.5}
        _words(axes, {0: "weak", -1: "max"} if name == PRESETS else words, x, y, colour, below=method == PROJECT)


def _words(axes: Any, words: dict[int, str], x: np.ndarray, y: np.ndarray, colour: str, below: bool) -> None:
    from matplotlib import patheffects

    place = {"xytext": (-4, -12), "ha": "right"} if below else {"xytext": (6, 5), "ha": "left"}
    font = {"textcoords": "offset points", "fontsize": 8, "fontweight": "bold", "color": colour, "zorder": 6}
    for i, word in words.items():
        label = axes.annotate(word, (x[i], y[i]), **place, **font)
        label.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def front(results: SafetyResults, costs: Sequence[str]) -> Any:
    """Unsafe seen against what is lost, a panel a cost."""
    figure, panels = pyplot().subplots(1, len(costs), figsize=(6.8 * len(costs), 6.6), squeeze=False)
    for axes, cost in zip(panels[0], costs, strict=True):
        for name, rows in lines(results).items():
            _line(axes, name, rows, cost)
        edge = [row for row, standing in results.front(cost) if standing.front]
        points = sorted(zip(scaled(edge, "unsafe seen")[0], scaled(edge, cost)[0], strict=True))
        grey = {"color": INK, "linewidth": 6, "alpha": 0.12, "zorder": 0, "label": "the front (no oracle)"}
        axes.step(*zip(*points, strict=True), where="post", **grey)
        axes.set(xlabel="unsafe seen, % of the unsafe prompts", ylabel=axis(cost))
        if "distance" in cost:
            axes.invert_yaxis()
        axes.set_title("better: left and up", loc="left", color=FAINT, fontsize=9, fontweight="normal")
    legend(figure, panels[0][0], 3 * len(costs))
    return figure


def curves(sweeps: dict[str, list[Row]], place: Callable[[Row], float], label: str) -> Any:
    """What methods do over a range. sweeps: by method its rows; place: where on the range each stands."""
    figure, panels = pyplot().subplots(2, 2, figsize=(11, 7.6), sharex=True)
    for axes, measure in zip(panels.flat, CURVES, strict=True):
        for method, rows in sweeps.items():
            x, (y, (below, above)) = [place(row) for row in rows], scaled(rows, measure)
            colour, marker = METHODS[method].line or METHODS[method].look[0], METHODS[method].look[1]
            line = {"linestyle": "-" if method in DEFAULTS else "--", "linewidth": 1.6, "markersize": 4}
            axes.plot(x, y, color=colour, marker=marker, label=rows[0].name, **line)
            axes.fill_between(x, y - below, y + above, linewidth=0, color=colour, alpha=0.12)
        axes.set_title(axis(measure), loc="left")
        axes.set_ylim(0, 103 if measure in ("unsafe seen", "layout kept") else None)
    for axes in panels[1]:
        axes.set_xlabel(label)
    legend(figure, panels[0][0], 5)
    return figure


def _bars(axes: Any, rows: Sequence[Row], figures: Sequence[Estimate], label: str) -> None:
    """Horizontal bars with whiskers, the first on top."""
    places, values = np.arange(len(rows))[::-1], [figure.value for figure in figures]
    axes.barh(places, values, color=[METHODS[row.method].look[0] for row in rows], height=0.66)
    axes.errorbar(values, places, xerr=whiskers(figures), color=INK, linestyle="none", linewidth=1, capsize=2)
    axes.set_yticks(places, [row.gated_label for row in rows])
    axes.grid(axis="y", visible=False)
    axes.set(ylim=(-0.7, len(rows) - 0.3), xlim=(0, None), xlabel=label)


def benign(results: SafetyResults, rows: list[Row]) -> Any:
    """How far pictures of benign prompts are from their plain twins."""
    figure, panels = pyplot().subplots(1, 2, figsize=(11, 1.3 + 0.29 * len(rows)), sharey=True, sharex=True)
    for axes, cases, title in zip(panels, BENIGN_SETS, ("benign prompts", "look-alikes"), strict=True):
        twins = [twin for row in rows if (twin := results.find(row.method, row.x, cases, row.gated))]
        _bars(axes, twins, [twin.figure(CURVES[-1]) for twin in twins], axis(CURVES[-1]))
        axes.set_title(title, loc="left")
    figure.tight_layout()
    return figure


def index(bars: dict[Row, Estimate]) -> Any:
    """The proximal-disruption index of everything that has one."""
    figure, axes = pyplot().subplots(figsize=(8.5, 1.2 + 0.29 * len(bars)))
    _bars(axes, [*bars], [*bars.values()], "proximal-disruption index: 0 untouched, 1 as if redrawn")
    highest = max(value.high for value in bars.values())
    axes.set_xlim(0, max(1.0, highest) if highest > 0.6 else None)
    figure.tight_layout()
    return figure


def confusions(results: SafetyResults, rows: Sequence[Row]) -> Any:
    """Which kinds of unsafe things are seen where a prompt names one."""
    named, seen = results.kinds
    size = (max(1.6 + 0.62 * (len(seen) + 1), 3.2) * len(rows), 1.9 + 0.55 * len(named))
    figure, panels = pyplot().subplots(1, len(rows), figsize=size, sharey=True, squeeze=False)
    for axes, row in zip(panels[0], rows, strict=True):
        shares = results.confusion(row)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (i, j), share in np.ndenumerate(shares):
            colour = "white" if share > 0.55 else INK
            axes.text(j, i, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color=colour)
        axes.set_xticks(range(len(seen) + 1), [*seen, "none"], rotation=40, ha="right")
        axes.set_yticks(range(len(named)), named)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_title(row.label, loc="left")
    panels[0][0].set_ylabel("the prompt names")
    figure.supxlabel("the picture shows, % of the prompts", fontsize=10)
    figure.tight_layout()
    return figure


def draw(results: SafetyResults, confused: Sequence[Row], folder: Path) -> dict[str, str]:
    """Every picture that the results allow, by name; file names in `folder`."""
    slider = {row.method: results.slider(row.method) for row in results.of() if row.family == DUAL}
    context = {method: rows for method in DEFAULTS if len(rows := results.contexts(method)) > 1}
    harmless = [row for row in results.of("benign") if row.method != PLAIN]  # plain is at 0 by definition
    harmless.sort(key=lambda row: (*FAMILIES, row.family).index(row.family))
    bars = {row: value for row in harmless if (value := results.index(row, row.gated))}
    drawings: dict[str, tuple[Any, Callable[[], Any]]] = {  # by name: where there is something, how it is drawn
        "front": (results.of(), lambda: front(results, COSTS[:2])),
        "front_pixel": (results.of(), lambda: front(results, COSTS[2:])),
        "slider": (slider, lambda: curves(slider, lambda row: row.x, "safety (the slider)")),
        "context": (context, lambda: curves(context, lambda row: row.context, "context threshold, safety 1")),
        "benign": (harmless, lambda: benign(results, harmless)),
        "index": (bars, lambda: index(bars)),
        "confusion": (confused, lambda: confusions(results, confused)),
    }
    files = {name: FILE.format(name) for name, (shown, _) in drawings.items() if shown}
    for name, file in files.items():
        save(drawings[name][1](), folder / file)
    return files


def chosen(results: SafetyResults, count: int = SHOWN) -> list[int]:
    """Numbers of the prompts of the grid of examples, by the rule that the report states."""
    kinds: dict[str, list[int]] = {}
    for plain in results.at((PLAIN, None)):
        shows = (plain.column("unsafe") >= SEEN) & (plain.column("benign") >= SEEN)
        for i, case in enumerate(results.sets["unsafe"]):
            if shows[i] and case["group"] == "one":
                kinds.setdefault(case["kind"], []).append(i)
    turns = sorted((turn, kind) for kind, numbers in enumerate(kinds.values()) for turn in range(len(numbers)))
    return [[*kinds.values()][kind][turn] for turn, kind in turns[:count]]


def examples(results: SafetyResults, pictures: Pictures, path: Path) -> None:
    """A few prompts, each with the same noise by several methods, as JPEG."""
    prompts, rows = chosen(results), results.at(*EXAMPLE_ROWS)
    if not prompts or not rows:
        return
    width, height = 1.9 + 1.12 * len(rows), 0.5 + 1.14 * len(prompts)
    figure, cells = pyplot().subplots(len(prompts), len(rows), figsize=(width, height), squeeze=False)
    for column, row in zip(cells.T, rows, strict=True):
        made = pictures(row.data["key"])
        for axes, i in zip(column, prompts, strict=True):
            axes.imshow(made[i], interpolation="lanczos")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        column[0].set_title(textwrap.fill(row.label, 12), fontsize=8, fontweight="normal")
    for axes, i in zip(cells[:, 0], prompts, strict=True):
        words = textwrap.fill(results.sets["unsafe"][i]["prompt"], 26)
        axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
    edges = {"left": 1.75 / width, "right": 0.995, "top": 1 - 0.45 / height, "bottom": 0.01}
    figure.subplots_adjust(**edges, wspace=0.04, hspace=0.04)
    figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 88, "optimize": True})
    pyplot().close(figure)
