"""A template's thumbnail, a square with a few words in large type: `python -m runner.card OUT TITLE [FILE=LABEL...]`

With pictures it shows them under the title. Without any it is a drawing of the workflow: for models that are not here,
a picture by another one would not be theirs. Runs in the host's environment.
"""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .strip import INK, PAPER, save

SIDE, MARGIN = 480, 8  # pixels
BADGE = 56  # pixels at the top, where the template browser writes "Node graph" over the card
QUIET, ACCENT = (178, 178, 178), (56, 142, 118)  # the slider of the nodes (nodes/inputs.py)


def write(draw: Any, text: str, box: tuple[float, float, float, float], size: int) -> None:
    """Text in the middle of a box, in up to three lines, as large as fits up to a size in pixels."""
    from PIL import ImageFont

    left, top, right, bottom = box
    for points in range(size, 12, -2):
        font = ImageFont.load_default(points)
        for share in (1, 0.6, 0.4):
            width = math.ceil(len(text) * share)
            lines = "\n".join(textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False))
            x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), lines, font, anchor="mm", align="center")
            if x1 - x0 <= right - left and y1 - y0 <= bottom - top:
                middle = ((left + right) / 2, (top + bottom) / 2)
                draw.multiline_text(middle, lines, INK, font, anchor="mm", align="center")
                return


def show_pictures(card: Any, draw: Any, title: str, pictures: Sequence[tuple[Path, str]]) -> None:
    """The pictures in rows under the title, each above its label."""
    from PIL import Image

    label, top = (48, 150) if len(pictures) == 2 else (33, 100)

    def cell_of(columns: int) -> int:
        return min((SIDE - MARGIN) // columns, (SIDE - top - MARGIN) // math.ceil(len(pictures) / columns) - label)

    columns = max(range(1, len(pictures) + 1), key=cell_of)
    cell, rows = cell_of(columns), math.ceil(len(pictures) / columns)
    write(draw, title, (MARGIN, BADGE, SIDE - MARGIN, top - MARGIN), 52)
    top += (SIDE - top - rows * (cell + label)) // 2
    for number, (file, words) in enumerate(pictures):
        row, column = divmod(number, columns)
        left = (SIDE - min(columns, len(pictures) - row * columns) * cell) // 2 + column * cell
        y = top + row * (cell + label)
        side = cell - MARGIN
        picture = Image.open(file).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        card.paste(picture, (left + MARGIN // 2, y))
        write(draw, words, (left, y + side, left + cell, y + side + label), label - 8)


def draw_workflow(draw: Any, title: str) -> None:
    """The title, and under it the way from the model's files to a picture, with the slider."""
    write(draw, title, (24, BADGE, SIDE - 24, 210), 96)
    for left, words in ((24, "your files"), (176, "Safelight"), (328, "picture")):
        draw.rounded_rectangle((left, 226, left + 128, 314), 12, outline=INK, width=4)
        write(draw, words, (left + 6, 230, left + 122, 310), 30)
    for left in (152, 304):
        draw.line((left, 270, left + 18, 270), INK, 4)
        draw.polygon(((left + 14, 262), (left + 24, 270), (left + 14, 278)), INK)
    write(draw, "safety", (24, 350, 176, 430), 46)
    draw.rounded_rectangle((200, 384, 456, 396), 6, fill=QUIET)
    draw.rounded_rectangle((200, 384, 420, 396), 6, fill=ACCENT)
    draw.ellipse((402, 372, 438, 408), fill=ACCENT)


def make_card(out: Path, title: str, pictures: Sequence[tuple[Path, str]]) -> None:
    """Writes the card to `out`; see runner.strip.save."""
    from PIL import Image, ImageDraw

    card = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(card)
    if pictures:
        show_pictures(card, draw, title, pictures)
    else:
        draw_workflow(draw, title)
    save(card, out)


if __name__ == "__main__":
    labelled = [word.rsplit("=", 1) for word in sys.argv[3:]]
    make_card(Path(sys.argv[1]), sys.argv[2], [(Path(file), label) for file, label in labelled])
