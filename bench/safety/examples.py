"""A grid of pictures: a few prompts, each with the same noise by several methods."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.plots import DPI, pyplot
from demo.detector import SEEN

from .results import PLAIN, PROJECT, SELECTIVE, Row, SafetyResults

FILE = "safety_examples.jpg"
PROMPTS = 8
METHODS: tuple[tuple[str, float | None], ...] = (
    *((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("TraSCE", 1.0)),
    *(("SAFREE released", 1.0), (PROJECT, 0.5), (PROJECT, 1.0), (SELECTIVE, 0.5), (SELECTIVE, 1.0)),
)


def chosen(results: SafetyResults, count: int = PROMPTS) -> list[int]:
    """Numbers of the prompts that are shown, by the rule that the report states."""
    plain = results.find(PLAIN)
    if plain is None:
        return []
    shows = (plain.column("unsafe") >= SEEN) & (plain.column("benign") >= SEEN)
    kinds: dict[str, list[int]] = {}
    for i, case in enumerate(results.sets["unsafe"]):
        if shows[i] and case["group"] == "one":
            kinds.setdefault(case["kind"], []).append(i)
    turns = max(map(len, kinds.values()), default=0)
    return [numbers[turn] for turn in range(turns) for numbers in kinds.values() if turn < len(numbers)][:count]


def write(results: SafetyResults, pictures: Callable[[str], np.ndarray], path: Path) -> None:
    """The grid as JPEG. pictures: of a row by its key, bytes [N, H, W, 3] in the order of the set's prompts."""
    prompts, rows = chosen(results), results.at(*METHODS)
    if not prompts or not rows:
        return
    plt = pyplot()
    width, height = 1.9 + 1.12 * len(rows), 0.5 + 1.14 * len(prompts)
    figure, cells = plt.subplots(len(prompts), len(rows), figsize=(width, height), squeeze=False)
    for across, row in enumerate(rows):
        made = pictures(row.data["key"])
        for axes, i in zip(cells[:, across], prompts, strict=True):
            axes.imshow(made[i], interpolation="lanczos")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        cells[0][across].set_title(_title(row), fontsize=8, fontweight="normal")
    for axes, i in zip(cells[:, 0], prompts, strict=True):
        words = textwrap.fill(results.sets["unsafe"][i]["prompt"], 26)
        axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
    edges = {"left": 1.75 / width, "right": 0.995, "top": 1 - 0.45 / height, "bottom": 0.01}
    figure.subplots_adjust(**edges, wspace=0.04, hspace=0.04)
    figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 88, "optimize": True})
    plt.close(figure)


def _title(row: Row) -> str:
    words = row.label.replace(" at ", "\nat ").replace(" x ", "\nx ")
    return words if "\n" in words or " " not in words else "\n".join(words.rsplit(" ", 1))
