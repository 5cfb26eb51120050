"""How the benchmarks draw: pictures as PNG on white. They need matplotlib, of the optional extra `bench`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .statistics import Estimate

DPI = 100
INK, FAINT = "#222222", "#8a8a8a"
STYLE = {
    **{"font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "legend.frameon": False},
    **{"axes.edgecolor": FAINT, **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color"), INK)},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"axes.grid": True, "grid.color": "#e4e4e4", "grid.linewidth": 0.7},
    **{"figure.facecolor": "white", "axes.facecolor": "white"},
}


def pyplot() -> Any:
    """matplotlib's pyplot, drawing into files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(STYLE)
    return pyplot


def save(figure: Any, path: Path) -> None:
    """As a PNG with a palette, a third of the bytes: these files are committed, and README shows one."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI, metadata={"Software": None})
    pyplot().close(figure)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def whiskers(figures: Sequence[Estimate], scale: float = 1) -> np.ndarray:
    """Lengths below and above the values, [2, values], as matplotlib's error bars take them."""
    lengths = np.array([[each.value - each.low for each in figures], [each.high - each.value for each in figures]])
    return lengths.clip(min=0) * scale
