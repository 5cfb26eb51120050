"""The report's pictures, as PNG on white. They need matplotlib, of the optional extra `bench`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .reading import BENIGN_SETS, COSTS, DUAL, ORACLE, PLAIN, PROJECT, SELECTIVE, Reading, Row
from .statistics import Estimate

DPI = 100
INK, FAINT = "#222222", "#8a8a8a"
# Okabe and Ito's colours, told apart by markers too.
LOOKS = {
    PLAIN: ("#000000", "*"), "negative prompt": ("#4d4d4d", "X"), "safe prompt alone": ("#8c6d31", "P"),
    "hard switch": ("#8c6d31", "d"), "SLD": ("#E69F00", "s"), "CASG": ("#D55E00", "^"), "TraSCE": ("#CC79A7", "v"),
    "SAFREE": ("#009E73", "D"), "SAFREE printed": ("#5fc9ad", "p"), PROJECT: ("#0072B2", "o"),
    SELECTIVE: ("#56B4E9", "o"), "UCE": ("#a6761d", "<"), "RECE": ("#66321b", ">"), "redaction": ("#e7298a", "H"),
    "redaction ridge": ("#f29ac4", "H"), "Safe Adapter": ("#7570b3", "P"), "ShieldDiff adapter": ("#b8b5dd", "P"),
}  # fmt: skip
OTHER_DUAL = ("#7b68c8", "h")
SHADES = {
    "subtract": "#a05a2c", "vector": "#2f4f4f", "typed": "#7b68c8", "separate": "#3a7d7d", "balanced": "#b8860b",
    "free": "#c2185b", "weight": "#6b8e23",
}  # fmt: skip
PRESETS = "SLD: weak to max"
NAMES = {"layout": "layout kept", "perceptual": "distance to the plain picture (features)",
         "pixel": "distance to the plain picture (pixels)"}  # fmt: skip


def _shade(method: str, colour: str) -> str:
    """A colour of its own for each of the other dual methods."""
    return next((shade for word, shade in SHADES.items() if word in method.split()), colour)


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into files."""
    try:
        import matplotlib
    except ImportError as error:
        raise SystemExit("matplotlib is not installed, and the report draws with it: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({
        "font.size": 10, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#e4e4e4", "grid.linewidth": 0.7, "axes.axisbelow": True, "figure.facecolor": "white",
        "axes.facecolor": "white", "legend.frameon": False, "axes.titlesize": 11, "axes.titleweight": "bold",
    })  # fmt: skip
    return pyplot


def look(method: str, family: str) -> tuple[str, str]:
    """Colour and marker of a method."""
    return LOOKS.get(method) or (OTHER_DUAL if family == DUAL else LOOKS.get(family, (FAINT, ".")))


def save(figure: Any, path: Path) -> None:
    """As a PNG with a palette, a third of the bytes: these files are committed, and README shows one."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, metadata={"Software": None})
    pyplot().close(figure)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _save(figure: Any, folder: Path, name: str) -> str:
    path = folder / f"safety_{name}.png"
    save(figure, path)
    return path.name


def _whiskers(found: list[Estimate], scale: float = 1) -> np.ndarray:
    """Lengths below and above the values, [2, values], as matplotlib's error bars take them."""
    lengths = np.array([[one.value - one.low for one in found], [one.high - one.value for one in found]])
    return lengths.clip(min=0) * scale


def lines(reading: Reading) -> dict[str, list[Row]]:
    """By name of its line the rows that a front's plot shows, in the order of the strength range; the presets of SLD
    are one line at their published strength, its strengths another."""
    found: dict[str, list[Row]] = {}
    for row in reading.of():
        name = row.method
        if row.family == "SLD":
            name = PRESETS if row.x in (None, 1) else "SLD max, by strength"
        found.setdefault(name + (" (an oracle)" if name == ORACLE else ""), []).append(row)
    top = reading.find("SLD max", 1.0)
    if top and "SLD max, by strength" in found:
        found["SLD max, by strength"].append(top)
        if found[PRESETS] == [top]:
            del found[PRESETS]
    found |= {f"{m}, by context": rows for m in (PROJECT, SELECTIVE) if (rows := reading.contexts(m))}
    order = {f"SLD {word}": i for i, word in enumerate(("weak", "medium", "strong", "max"))}
    return {name: sorted(rows, key=lambda r: order[r.method] if name == PRESETS else (r.context or 0, r.x or 0))
            for name, rows in found.items()}  # fmt: skip


def _value(row: Row, cost: str) -> Estimate:
    return row.layout_kept() if cost == "layout" else row.distance(cost)


def _line(axes: Any, name: str, rows: list[Row], cost: str) -> None:
    """A method over its strength range: whiskers, markers, and words at its end."""
    scale = 100 if cost == "layout" else 1
    from matplotlib import patheffects

    method = rows[0].method
    colour, marker = look(method, rows[0].family)
    default = method in (PROJECT, SELECTIVE) and rows[0].context is None
    side = rows[0].family == DUAL and not default
    x = [100 * row.seen().value for row in rows]
    y = [scale * _value(row, cost).value for row in rows]
    if not side:
        axes.errorbar(x, y, xerr=_whiskers([row.seen() for row in rows], 100), linestyle="none",
                      yerr=_whiskers([_value(row, cost) for row in rows], scale), color=colour, zorder=1,
                      alpha=0.45 if default else 0.25, linewidth=0.9)  # fmt: skip
    style = (0, (1, 1.5)) if name == PRESETS else (0, (5, 2)) if side else "-"
    axes.plot(x, y, linestyle=style, color=_shade(method, colour), marker="." if side else marker, label=name,
              markersize=12 if marker == "*" else 8 if marker in "XP" else 6, linewidth=1.1 if side else 1.6,
              zorder=5 if default or method == PLAIN else 2, markeredgecolor="white",
              markeredgewidth=0.6)  # fmt: skip
    ends = (0, len(rows) - 1) if name == PRESETS else (len(rows) - 1,)
    words = {i: rows[i].method.split()[-1] if name == PRESETS else f"{rows[i].x or 0:g}" for i in ends}
    if default:
        words |= {i: "0.5" for i, row in enumerate(rows) if row.x == 0.5}
    for i, word in words.items():
        if len(rows) > 1 and not side:
            below = method == PROJECT
            said = axes.annotate(word, (x[i], y[i]), textcoords="offset points", fontsize=8, color=colour,
                                 xytext=(-4, -12) if below else (6, 5), ha="right" if below else "left",
                                 fontweight="bold", zorder=6)  # fmt: skip
            said.set_path_effects([patheffects.withStroke(linewidth=2.5, foreground="white")])


def _front_panel(axes: Any, reading: Reading, cost: str) -> None:
    scale = 100 if cost == "layout" else 1
    for name, rows in lines(reading).items():
        _line(axes, name, rows, cost)
    edge = sorted((100 * row.seen().value, scale * _value(row, cost).value)
                  for row, standing in reading.front(cost) if standing.front)  # fmt: skip
    if edge:
        axes.step([p[0] for p in edge], [p[1] for p in edge], where="post", color=INK, linewidth=6, alpha=0.12,
                  zorder=0, label="the front (no oracle)")  # fmt: skip
    axes.set_xlabel("unsafe seen, % of the unsafe prompts")
    axes.set_ylabel(NAMES[cost] + (", %" if cost == "layout" else ""))
    if cost != "layout":
        axes.invert_yaxis()
    axes.set_title("better: left and up", loc="left", color=FAINT, fontsize=9, fontweight="normal")


def front(reading: Reading, folder: Path, name: str = "front", costs: Sequence[str] = COSTS[:2]) -> str | None:
    """Unsafe seen against what is lost, a panel a cost."""
    if not reading.of():
        return None
    plt = pyplot()
    figure, panels = plt.subplots(1, len(costs), figsize=(6.8 * len(costs), 6.6), squeeze=False)
    for axes, cost in zip(panels[0], costs, strict=True):
        _front_panel(axes, reading, cost)
    handles, labels = panels[0][0].get_legend_handles_labels()
    columns = 3 * len(costs)
    figure.legend(handles, labels, loc="lower center", ncols=columns, fontsize=9)
    figure.tight_layout(rect=(0, 0.01 + 0.032 * -(-len(labels) // columns), 1, 1))
    return _save(figure, folder, name)


Curve = tuple[str, Callable[[Row], Estimate], float]
CURVES: tuple[Curve, ...] = (
    ("unsafe seen, %", lambda row: row.seen(), 100), ("half seen, %", lambda row: row.half_seen(), 100),
    ("layout kept, %", lambda row: row.layout_kept(), 100), (NAMES["perceptual"], lambda row: row.distance(), 1),
)  # fmt: skip


def _curves(sweeps: dict[str, list[tuple[float, Row]]], label: str) -> Any:
    plt = pyplot()
    figure, panels = plt.subplots(2, 2, figsize=(11, 7.6), sharex=True)
    for axes, (title, figure_of, scale) in zip(panels.flat, CURVES, strict=True):
        for method, points in sweeps.items():
            colour, marker = look(method, DUAL)
            style = "-" if method in (PROJECT, SELECTIVE) else "--"
            found = [figure_of(row) for _, row in points]
            places = [place for place, _ in points]
            axes.plot(places, [scale * f.value for f in found], style, color=_shade(method, colour), marker=marker,
                      markersize=4, linewidth=1.6,
                      label=f"{method} (an oracle)" if method == ORACLE else method)  # fmt: skip
            axes.fill_between(places, [scale * f.low for f in found], [scale * f.high for f in found], linewidth=0,
                              color=_shade(method, colour), alpha=0.12)  # fmt: skip
        axes.set_title(title, loc="left")
        axes.set_ylim(bottom=0)
        if scale == 100 and "half" not in title:
            axes.set_ylim(0, 103)
    for axes in panels[1]:
        axes.set_xlabel(label)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(len(labels), 5), fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def slider(reading: Reading, folder: Path) -> str | None:
    """What the slider does, for every dual method."""
    methods = dict.fromkeys(row.method for row in reading.of() if row.family == DUAL)
    sweeps = {method: [(row.x or 0.0, row) for row in reading.slider(method)] for method in methods}
    return _save(_curves(sweeps, "safety (the slider)"), folder, "slider") if sweeps else None


def context(reading: Reading, folder: Path) -> str | None:
    """What the context threshold does at safety 1."""
    sweeps = {m: [(row.context or 0.0, row) for row in reading.contexts(m)] for m in (PROJECT, SELECTIVE)}
    sweeps = {method: points for method, points in sweeps.items() if len(points) > 1}
    return _save(_curves(sweeps, "context threshold, safety 1"), folder, "context") if sweeps else None


def _bars(axes: Any, rows: list[tuple[str, str, Estimate]], label: str) -> None:
    """Horizontal bars with whiskers: (label, colour, figure), the first on top."""
    places = np.arange(len(rows))[::-1]
    found = [one for _, _, one in rows]
    values = [one.value for one in found]
    axes.barh(places, values, color=[colour for _, colour, _ in rows], height=0.66)
    axes.errorbar(values, places, xerr=_whiskers(found), color=INK, linestyle="none", linewidth=1, capsize=2)
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)


def benign_rows(reading: Reading) -> list[Row]:
    """The rows on benign prompts but plain's, which is at 0 by definition."""
    families = list(dict.fromkeys(LOOKS))
    rows = [row for row in reading.of("benign") if row.method != PLAIN]
    return sorted(rows, key=lambda r: families.index(r.family) if r.family in families else len(families))


def gate_word(row: Row) -> str:
    """What a dual row on benign prompts says of its gate."""
    return "" if row.family != DUAL else (", with its gate" if row.gated else ", gate held open")


def benign(reading: Reading, folder: Path) -> str | None:
    """How far pictures of benign prompts are from their plain twins."""
    rows = benign_rows(reading)
    if not rows:
        return None
    plt = pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(11, 1.3 + 0.29 * len(rows)), sharey=True, sharex=True)
    for axes, cases in zip(panels, BENIGN_SETS, strict=True):
        twins = [(row, reading.find(row.method, row.x, cases, row.gated)) for row in rows]
        bars = [(f"{row.label}{gate_word(row)}", look(row.method, row.family)[0], twin.distance())
                for row, twin in twins if twin]  # fmt: skip
        _bars(axes, bars, NAMES["perceptual"])
        axes.set_title({"benign": "benign prompts", "neighbours": "benign, near something unsafe"}[cases], loc="left")
    figure.tight_layout()
    return _save(figure, folder, "benign")


def index(reading: Reading, folder: Path) -> str | None:
    """The proximal-disruption index of everything that has one."""
    found = [(row, reading.index(row.method, row.x, row.gated)) for row in benign_rows(reading)]
    bars = [(f"{row.label}{gate_word(row)}", look(row.method, row.family)[0], value) for row, value in found if value]
    if not bars:
        return None
    figure, axes = pyplot().subplots(figsize=(8.5, 1.2 + 0.29 * len(bars)))
    _bars(axes, bars, "proximal-disruption index: 0 untouched, 1 as if redrawn")
    axes.set_xlim(0, max(1.0, *(b[2].high for b in bars)) if max(b[2].high for b in bars) > 0.6 else None)
    figure.tight_layout()
    return _save(figure, folder, "index")


def confusions(reading: Reading, folder: Path) -> str | None:
    """Which kinds of unsafe things are seen where a prompt names one: plain, and a few ways to guide."""
    wanted = [reading.find(PLAIN), reading.find("CASG", 1.0), reading.find(PROJECT, 0.5), reading.find(PROJECT, 1.0)]
    rows = [row for row in wanted if row]
    if not rows:
        return None
    plt = pyplot()
    named, seen = reading.kinds
    width = 1.6 + 0.62 * (len(seen) + 1)
    figure, panels = plt.subplots(
        1, len(rows), figsize=(max(width, 3.2) * len(rows), 1.9 + 0.55 * len(named)), sharey=True, squeeze=False
    )
    for axes, row in zip(panels[0], rows, strict=True):
        shares = reading.confusion(row)[2]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, j in np.ndindex(shares.shape):
            if not np.isnan(shares[i, j]):
                axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", fontsize=9,
                          color="white" if shares[i, j] > 0.55 else INK)  # fmt: skip
        axes.set_xticks(range(len(seen) + 1), [*seen, "none"], rotation=40, ha="right")
        axes.set_yticks(range(len(named)), named)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_title(row.label, loc="left")
    panels[0][0].set_ylabel("the prompt names")
    figure.supxlabel("the picture shows, % of the prompts", fontsize=10)
    figure.tight_layout()
    return _save(figure, folder, "confusion")


def draw(reading: Reading, folder: Path) -> dict[str, str]:
    """Every picture that the results allow, by name; file names in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "front": front(reading, folder),
        "front_pixel": front(reading, folder, "front_pixel", ("pixel",)),
        "slider": slider(reading, folder), "context": context(reading, folder), "benign": benign(reading, folder),
        "index": index(reading, folder), "confusion": confusions(reading, folder),
    }  # fmt: skip
    return {name: file for name, file in made.items() if file}
