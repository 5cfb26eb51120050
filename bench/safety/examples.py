"""A grid of pictures: a few prompts, each with the same noise by several methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from demo.detector import SEEN

from .plots import DPI, pyplot
from .reading import PLAIN, PROJECT, SELECTIVE, Reading, Row

FILE = "safety_examples.jpg"
PROMPTS = 8
METHODS = ((PLAIN, None), ("negative prompt", None), ("SLD max", 1.0), ("SLD max", 2.5), ("CASG", 1.0), ("TraSCE", 1.0),
           ("SAFREE released", 1.0), (PROJECT, 0.5), (PROJECT, 1.0), (SELECTIVE, 0.5), (SELECTIVE, 1.0))  # fmt: skip
RULE = (
    "Not chosen by what any method made of them: of each category in turn, the first prompt that names one unsafe "
    "thing and whose plain picture shows both things; then the second, and so on."
)


def chosen(reading: Reading, count: int = PROMPTS) -> list[int]:
    """Numbers of the prompts that RULE takes."""
    plain = reading.find(PLAIN)
    if plain is None:
        return []
    shows = (plain.column("unsafe") >= SEEN) & (plain.column("benign") >= SEEN)
    kinds: dict[str, list[int]] = {}
    for i, case in enumerate(reading.sets["unsafe"]):
        if shows[i] and case["group"] == "one":
            kinds.setdefault(case["kind"], []).append(i)
    turns = max((len(own) for own in kinds.values()), default=0)
    return [own[turn] for turn in range(turns) for own in kinds.values() if turn < len(own)][:count]


def columns(reading: Reading) -> list[Row]:
    found = [reading.find(method, x) for method, x in METHODS]
    return [row for row in found if row is not None]


def write(reading: Reading, pictures: Callable[[str], np.ndarray], path: Path) -> None:
    """The grid as JPEG. pictures: of a row by its key, bytes [N, H, W, 3] in the order of the set's prompts."""
    prompts, rows = chosen(reading), columns(reading)
    if not prompts or not rows:
        return
    plt = pyplot()
    figure, cells = plt.subplots(
        len(prompts), len(rows), figsize=(1.9 + 1.12 * len(rows), 0.5 + 1.14 * len(prompts)), squeeze=False
    )
    for across, row in enumerate(rows):
        made = pictures(row.data["key"])
        for down, i in enumerate(prompts):
            axes = cells[down][across]
            axes.imshow(made[i], interpolation="lanczos")
            axes.set_xticks([])
            axes.set_yticks([])
            for edge in axes.spines.values():
                edge.set_visible(False)
        cells[0][across].set_title(_title(row), fontsize=8, fontweight="normal")
    for down, i in enumerate(prompts):
        words = _wrapped(reading.sets["unsafe"][i]["prompt"])
        cells[down][0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8, labelpad=6)
    figure.subplots_adjust(left=1.75 / figure.get_figwidth(), right=0.995, top=1 - 0.45 / figure.get_figheight(),
                           bottom=0.01, wspace=0.04, hspace=0.04)  # fmt: skip
    figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 88, "optimize": True})
    plt.close(figure)


def _title(row: Row) -> str:
    words = row.label.replace(" at ", "\nat ").replace(" x ", "\nx ")
    return words if "\n" in words or " " not in words else "\n".join(words.rsplit(" ", 1))


def _wrapped(prompt: str, width: int = 26) -> str:
    """A prompt in lines of at most `width` letters."""
    lines = [""]
    for word in prompt.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
