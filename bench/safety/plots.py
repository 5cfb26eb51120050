"""The pictures of the report on safety: every method's way, and examples. They need matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from demo.detector import SEEN

from .plan import IMPLICIT, METHODS, SLIDER_FAMILIES
from .results import COSTS, LOOP, PLAIN, PROJECT, REWRITE, SLIDERS, Place, Row, SafetyResults

Pictures = Callable[[str], np.ndarray]  # of a row by its key, bytes [N, H, W, 3] in the order of the set's prompts
FRONTS = {"unsafe": "safety_front.png", IMPLICIT: "safety_front_implicit.png"}  # by prompt set
EXAMPLES, SHOWN = "safety_examples.jpg", 8
PRESETS, STRENGTHS = "SLD: weak to max", "SLD max, by strength"
DPI = 100
INK, FAINT = "#222222", "#8a8a8a"
STYLE = {
    **{"font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "legend.frameon": False},
    **{"axes.edgecolor": FAINT, **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK)},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"axes.grid": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.7},
    **{"figure.facecolor": "white", "axes.facecolor": "white"},
}
AXES = {COSTS[0]: "layout kept, %", COSTS[1]: "distance to the plain picture (features)"}
EXAMPLE_ROWS: tuple[Place, ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("TraSCE", 1.0)),
    *(("SAFREE released", 1.0), (REWRITE, 0.5), (REWRITE, 1.0), (PROJECT, 1.0), (LOOP, 0.75), (LOOP, 1.0)),
)


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    return pyplot


def lines(results: SafetyResults, cases: str = "unsafe") -> dict[str, list[Row]]:
    """By name of its line the rows that a front's plot shows, in the order of the strength range; the presets of SLD
    are one line at their published strength, its strengths another."""
    named: dict[str, list[Row]] = {}
    for row in results.of(cases):
        sld = PRESETS if row.x in (None, 1) else STRENGTHS
        named.setdefault(sld if row.family == "SLD" else row.name, []).append(row)
    published = results.find("SLD max", 1.0, cases)
    if STRENGTHS in named and published:
        named[STRENGTHS] = sorted([*named[STRENGTHS], published], key=lambda row: row.x)
    order = ["SLD weak", "SLD medium", "SLD strong", "SLD max"]
    named.get(PRESETS, []).sort(key=lambda row: order.index(row.method))
    return named


def scaled(rows: list[Row], measure: str) -> tuple[np.ndarray, np.ndarray]:
    """A measure's values as its axis has them, and their whiskers."""
    figures, scale = [row.figure(measure) for row in rows], 1 if "distance" in measure else 100
    lengths = [[each.value - each.low for each in figures], [each.high - each.value for each in figures]]
    return scale * np.array([each.value for each in figures]), scale * np.array(lengths).clip(min=0)


def _line(axes: Any, name: str, rows: list[Row], cost: str) -> None:
    """A method over its strength range: whiskers, markers, and words at its end."""
    from matplotlib.patheffects import withStroke

    method, (colour, marker) = rows[0].method, METHODS[rows[0].method].look
    default = method in (*SLIDERS, LOOP)
    side = rows[0].family in SLIDER_FAMILIES and not default
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
    words = {i: "0.5" for i, row in enumerate(rows) if default and row.x == 0.5} | {-1: f"{rows[-1].x or 0:g}"}
    place = {"xytext": (-4, -12), "ha": "right"} if method == REWRITE else {"xytext": (6, 5), "ha": "left"}
    font = {"textcoords": "offset points", "fontsize": 8, "fontweight": "bold", "color": colour, "zorder": 6}
    for i, word in ({0: "weak", -1: "max"} if name == PRESETS else words if len(rows) > 1 else {}).items():
        label = axes.annotate(word, (x[i], y[i]), **place, **font)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def front(results: SafetyResults, path: Path, cases: str = "unsafe") -> None:
    """Unsafe seen against what is lost, a panel a cost."""
    from PIL import Image

    figure, panels = pyplot().subplots(1, len(AXES), figsize=(13.6, 6.8), layout="constrained")
    for axes, (cost, label) in zip(panels, AXES.items(), strict=True):
        for name, rows in lines(results, cases).items():
            _line(axes, name, rows, cost)
        edge = [row for row, standing in results.front(cost, cases) if not standing.by]
        points = sorted(zip(scaled(edge, "unsafe seen")[0], scaled(edge, cost)[0], strict=True))
        grey = {"color": INK, "linewidth": 6, "alpha": 0.12, "zorder": 0, "label": "the front (no oracle)"}
        axes.step(*zip(*points, strict=True), where="post", **grey)
        axes.set(xlabel=f"unsafe seen, % of the {cases} prompts", ylabel=label)
        axes.set_title("better: left and up", loc="left", color=FAINT, fontsize=9, fontweight="normal")
    panels[1].invert_yaxis()  # of distances less is better
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, metadata={"Software": None})
    pyplot().close(figure)
    # With a palette, a third of the bytes: it is committed, and docs/evidence.md shows it.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


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
