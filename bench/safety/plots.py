"""The pictures of the report on safety."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.plots import FAINT, INK, pyplot, save, whiskers
from bench.statistics import Estimate

from .plan import METHODS
from .results import BENIGN_SETS, COSTS, DUAL, PLAIN, PROJECT, SELECTIVE, Row, SafetyResults
from .tables import NAMES as SET_NAMES
from .tables import gated_label

FILE = "safety_{}.png"
NAMES = ("front", "front_pixel", "slider", "context", "benign", "index", "confusion")
# The order of bars; dual methods come last.
FAMILIES = ["negative prompt", "SLD", "CASG", "TraSCE", "SAFREE", "UCE", "RECE", "redaction", "Safe Adapter"]
PRESETS, STRENGTHS = "SLD: weak to max", "SLD max, by strength"


def look(row: Row) -> tuple[str, str]:
    """Colour and marker of a method."""
    return METHODS[row.method].look if row.method in METHODS else (FAINT, ".")


def line_colour(row: Row) -> str:
    return (METHODS[row.method].line if row.method in METHODS else "") or look(row)[0]


def lines(results: SafetyResults) -> dict[str, list[Row]]:
    """By name of its line the rows that a front's plot shows, in the order of the strength range; the presets of SLD
    are one line at their published strength, its strengths another."""
    named: dict[str, list[Row]] = {}
    for row in results.of():
        sld = PRESETS if row.x in (None, 1) else STRENGTHS
        named.setdefault(sld if row.family == "SLD" else row.name, []).append(row)
    top = results.find("SLD max", 1.0)
    if top and STRENGTHS in named:
        named[STRENGTHS].append(top)
        if named[PRESETS] == [top]:
            del named[PRESETS]
    named |= {f"{m}, by context": rows for m in (PROJECT, SELECTIVE) if (rows := results.contexts(m))}
    order = ["SLD weak", "SLD medium", "SLD strong", "SLD max"]
    for name, rows in named.items():
        rows.sort(key=lambda r: order.index(r.method) if name == PRESETS else (r.context or 0, r.x or 0))  # noqa: B023
    return named


def axis(measure: str) -> str:
    return measure.replace("distance", "distance to the plain picture") + ("" if "distance" in measure else ", %")


def _line(axes: Any, name: str, rows: list[Row], cost: str) -> None:
    """A method over its strength range: whiskers, markers, and words at its end."""
    scale = 1 if "distance" in cost else 100
    method = rows[0].method
    colour, marker = look(rows[0])
    default = method in (PROJECT, SELECTIVE) and rows[0].context is None
    side = rows[0].family == DUAL and not default
    seen, paid = ([row.figure(name) for row in rows] for name in ("unsafe seen", cost))
    x, y = [100 * figure.value for figure in seen], [scale * figure.value for figure in paid]
    if not side:
        thin = {"linestyle": "none", "color": colour, "zorder": 1, "alpha": 0.45 if default else 0.25, "linewidth": 0.9}
        axes.errorbar(x, y, xerr=whiskers(seen, 100), yerr=whiskers(paid, scale), **thin)
    axes.plot(
        x,
        y,
        linestyle=(0, (1, 1.5)) if name == PRESETS else (0, (5, 2)) if side else "-",
        linewidth=1.1 if side else 1.6,
        color=line_colour(rows[0]),
        marker="." if side else marker,
        markersize=12 if marker == "*" else 8 if marker in "XP" else 6,
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=5 if default or method == PLAIN else 2,
        label=name,
    )
    if len(rows) > 1 and not side:
        _words(axes, name, rows, x, y, colour)


def _words(axes: Any, name: str, rows: list[Row], x: list[float], y: list[float], colour: str) -> None:
    """The strength at the line's end; of SLD's presets, and of the defaults' middle, a word too."""
    from matplotlib import patheffects

    last, method = len(rows) - 1, rows[0].method
    if name == PRESETS:
        words = {i: rows[i].method.split()[-1] for i in (0, last)}
    else:
        words = {last: f"{rows[last].x or 0:g}"}
        words |= {i: "0.5" for i, row in enumerate(rows) if method in (PROJECT, SELECTIVE) and row.x == 0.5}
    below = method == PROJECT
    place = {"xytext": (-4, -12), "ha": "right"} if below else {"xytext": (6, 5), "ha": "left"}
    font = {"textcoords": "offset points", "fontsize": 8, "fontweight": "bold", "color": colour, "zorder": 6}
    for i, word in words.items():
        label = axes.annotate(word, (x[i], y[i]), **place, **font)
        label.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def front(results: SafetyResults, path: Path, costs: Sequence[str]) -> None:
    """Unsafe seen against what is lost, a panel a cost."""
    figure, panels = pyplot().subplots(1, len(costs), figsize=(6.8 * len(costs), 6.6), squeeze=False)
    for axes, cost in zip(panels[0], costs, strict=True):
        scale = 1 if "distance" in cost else 100
        for name, rows in lines(results).items():
            _line(axes, name, rows, cost)
        front = [row for row, standing in results.front(cost) if standing.front]
        edge = sorted((100 * r.figure("unsafe seen").value, scale * r.figure(cost).value) for r in front)
        if edge:
            grey = {"color": INK, "linewidth": 6, "alpha": 0.12, "zorder": 0, "label": "the front (no oracle)"}
            axes.step([p[0] for p in edge], [p[1] for p in edge], where="post", **grey)
        axes.set_xlabel("unsafe seen, % of the unsafe prompts")
        axes.set_ylabel(axis(cost))
        if scale == 1:
            axes.invert_yaxis()
        axes.set_title("better: left and up", loc="left", color=FAINT, fontsize=9, fontweight="normal")
    handles, labels = panels[0][0].get_legend_handles_labels()
    columns = 3 * len(costs)
    figure.legend(handles, labels, loc="lower center", ncols=columns, fontsize=9)
    figure.tight_layout(rect=(0, 0.01 + 0.032 * -(-len(labels) // columns), 1, 1))
    save(figure, path)


CURVES = ("unsafe seen", "half seen", "layout kept", "distance (features)")


def curves(sweeps: dict[str, list[tuple[float, Row]]], label: str, path: Path) -> None:
    """What methods do over a range. sweeps: by method the places on it, and their rows."""
    figure, panels = pyplot().subplots(2, 2, figsize=(11, 7.6), sharex=True)
    for axes, measure in zip(panels.flat, CURVES, strict=True):
        scale = 1 if "distance" in measure else 100
        for method, points in sweeps.items():
            colour = line_colour(points[0][1])
            places, figures = [place for place, _ in points], [row.figure(measure) for _, row in points]
            line = {"linestyle": "-" if method in (PROJECT, SELECTIVE) else "--", "linewidth": 1.6, "markersize": 4}
            line |= {"marker": look(points[0][1])[1], "label": points[0][1].name, "color": colour}
            axes.plot(places, [scale * f.value for f in figures], **line)
            band = [scale * f.low for f in figures], [scale * f.high for f in figures]
            axes.fill_between(places, *band, linewidth=0, color=colour, alpha=0.12)
        axes.set_title(axis(measure), loc="left")
        axes.set_ylim(bottom=0)
        if scale == 100 and measure != "half seen":
            axes.set_ylim(0, 103)
    for axes in panels[1]:
        axes.set_xlabel(label)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), 5), fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    save(figure, path)


def _bars(axes: Any, rows: list[tuple[Row, Estimate]], label: str) -> None:
    """Horizontal bars with whiskers, the first on top."""
    places = np.arange(len(rows))[::-1]
    figures = [figure for _, figure in rows]
    values = [figure.value for figure in figures]
    axes.barh(places, values, color=[look(row)[0] for row, _ in rows], height=0.66)
    axes.errorbar(values, places, xerr=whiskers(figures), color=INK, linestyle="none", linewidth=1, capsize=2)
    axes.set_yticks(places, [gated_label(row) for row, _ in rows])
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)


def benign_rows(results: SafetyResults) -> list[Row]:
    """The rows on benign prompts but plain's, which is at 0 by definition."""
    rows = [row for row in results.of("benign") if row.method != PLAIN]
    return sorted(rows, key=lambda row: FAMILIES.index(row.family) if row.family in FAMILIES else len(FAMILIES))


def benign(results: SafetyResults, rows: list[Row], path: Path) -> None:
    """How far pictures of benign prompts are from their plain twins."""
    figure, panels = pyplot().subplots(1, 2, figsize=(11, 1.3 + 0.29 * len(rows)), sharey=True, sharex=True)
    for axes, cases in zip(panels, BENIGN_SETS, strict=True):
        twins = [(row, results.find(row.method, row.x, cases, row.gated)) for row in rows]
        bars = [(row, twin.figure(CURVES[-1])) for row, twin in twins if twin]
        _bars(axes, bars, axis(CURVES[-1]))
        axes.set_title(f"{SET_NAMES[cases]} prompts" if cases == "benign" else SET_NAMES[cases], loc="left")
    figure.tight_layout()
    save(figure, path)


def index(bars: list[tuple[Row, Estimate]], path: Path) -> None:
    """The proximal-disruption index of everything that has one."""
    figure, axes = pyplot().subplots(figsize=(8.5, 1.2 + 0.29 * len(bars)))
    _bars(axes, bars, "proximal-disruption index: 0 untouched, 1 as if redrawn")
    highest = max(value.high for _, value in bars)
    axes.set_xlim(0, max(1.0, highest) if highest > 0.6 else None)
    figure.tight_layout()
    save(figure, path)


def confusions(results: SafetyResults, rows: Sequence[Row], path: Path) -> None:
    """Which kinds of unsafe things are seen where a prompt names one."""
    named, seen = results.kinds
    size = (max(1.6 + 0.62 * (len(seen) + 1), 3.2) * len(rows), 1.9 + 0.55 * len(named))
    figure, panels = pyplot().subplots(1, len(rows), figsize=size, sharey=True, squeeze=False)
    for axes, row in zip(panels[0], rows, strict=True):
        shares = results.confusion(row)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in zip(*np.nonzero(~np.isnan(shares)), strict=True):
            colour = "white" if shares[i, j] > 0.55 else INK
            axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=9, color=colour)
        axes.set_xticks(range(len(seen) + 1), [*seen, "none"], rotation=40, ha="right")
        axes.set_yticks(range(len(named)), named)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_title(row.label, loc="left")
    panels[0][0].set_ylabel("the prompt names")
    figure.supxlabel("the picture shows, % of the prompts", fontsize=10)
    figure.tight_layout()
    save(figure, path)


def draw(results: SafetyResults, confused: Sequence[Row], folder: Path) -> dict[str, str]:
    """Every picture that the results allow, by name; file names in `folder`."""
    methods = dict.fromkeys(row.method for row in results.of() if row.family == DUAL)
    slider = {method: [(row.x or 0.0, row) for row in results.slider(method)] for method in methods}
    context = {m: [(row.context or 0.0, row) for row in results.contexts(m)] for m in (PROJECT, SELECTIVE)}
    context = {method: points for method, points in context.items() if len(points) > 1}
    harmless = benign_rows(results)
    bars = [(row, value) for row in harmless if (value := results.index(row, row.gated)) is not None]
    drawings: dict[str, tuple[Any, Callable[[Path], None]]] = {  # by name: where there is something, how it is drawn
        "front": (results.of(), lambda path: front(results, path, COSTS[:2])),
        "front_pixel": (results.of(), lambda path: front(results, path, COSTS[2:])),
        "slider": (slider, lambda path: curves(slider, "safety (the slider)", path)),
        "context": (context, lambda path: curves(context, "context threshold, safety 1", path)),
        "benign": (harmless, lambda path: benign(results, harmless, path)),
        "index": (bars, lambda path: index(bars, path)),
        "confusion": (confused, lambda path: confusions(results, confused, path)),
    }
    files = {name: FILE.format(name) for name, (shown, _) in drawings.items() if shown}
    for name, file in files.items():
        drawings[name][1](folder / file)
    return files
