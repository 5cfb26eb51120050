"""A strip of pictures at several safety levels: reading the levels, grouping equal frames, and drawing the sheet.

With the same noise, the frames of all levels are equal until the first guided step, and later wherever two levels are
steered alike. Equal frames are evaluated once. The idea is ours.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

FEWEST, MOST = 2, 9  # levels of one strip
DEFAULT_LEVELS = "0, 0.25, 0.5, 0.75, 1"
LETTERS = 0.6  # of a band's height
CUT = "..."  # where a caption is too long
PAPER, INK = (0.98, 0.973, 0.961), (0.235, 0.078, 0.078)


def read_levels(text: object) -> tuple[float, ...]:
    """The safety levels in a text, in its order: numbers from 0 to 1 with commas, semicolons or spaces between them.

    Raises ValueError, naming the input, for anything else, for fewer than 2 or more than 9 levels, and for repeats.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"levels: expected a text, got {type(text).__name__}. Write numbers with commas between them, such as "
            f"{DEFAULT_LEVELS}."
        )
    levels: list[float] = []
    for word in re.split(r"[\s,;]+", text.strip(" \t\r\n,;")):
        try:
            level = float(word)
        except ValueError:
            level = math.nan
        if not 0.0 <= level <= 1.0:  # true for NaN too
            raise ValueError(
                f"levels: expected numbers from 0 to 1, got {word!r}. Write numbers with commas between them, such as "
                f"{DEFAULT_LEVELS}."
            )
        if level in levels:
            raise ValueError(f"levels: {level:g} is listed twice. Write each level once.")
        levels.append(abs(level))  # no minus before a zero
    if not FEWEST <= len(levels) <= MOST:
        raise ValueError(
            f"levels: expected {FEWEST} to {MOST} levels, got {len(levels)}. Write for example {DEFAULT_LEVELS}."
        )
    return tuple(levels)


def alike(frames: Sequence[torch.Tensor], keys: Sequence[Hashable]) -> list[list[int]]:
    """Groups of frames with equal keys and values, as lists of their indices, in the order of their first frames."""
    groups: list[list[int]] = []
    for i, (frame, key) in enumerate(zip(frames, keys, strict=True)):
        for group in groups:
            if keys[group[0]] == key and torch.equal(frames[group[0]], frame):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def side_by_side(frames: torch.Tensor, count: int) -> torch.Tensor:
    """The first of the B pictures of each frame in a row: [count * B, C, ..., w] to [1, C, ..., count * w]."""
    return torch.cat([frame[:1] for frame in frames.chunk(count)], dim=-1)


def labelled(pictures: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    """The strip of pictures [levels, batch, H, W, 3]: a column for each level, with its number over it."""
    width = pictures.shape[3]
    labels = [_written(f"{level:g}", width, max(20, width // 10)) for level in levels]
    return sheet(pictures.transpose(0, 1), torch.stack(labels))


def captioned(
    pictures: torch.Tensor, captions: Sequence[Sequence[str]], marked: Sequence[Sequence[bool]]
) -> torch.Tensor:
    """The pictures [levels, batch, H, W, 3], each with its caption over it.

    captions: by level and picture; a text that is too long is cut. marked: those that are light on dark.
    """
    width = pictures.shape[3]
    height = max(18, width // 14)
    paper, ink = torch.tensor(PAPER), torch.tensor(INK)
    bands = []
    for text, mark in zip(chain(*captions), chain(*marked), strict=True):
        letters = _written(_cut(text, width, height), width, height)[..., None]
        bands.append(torch.lerp(ink, paper, letters) if mark else torch.lerp(paper, ink, letters))
    return torch.cat([torch.stack(bands).unflatten(0, pictures.shape[:2]), pictures], dim=2)


def _written(text: str, width: int, height: int) -> torch.Tensor:
    """The text in the middle of a band, [height, width], 1 where there is ink."""
    font = ImageFont.load_default(round(LETTERS * height))
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((width / 2, height / 2), text, 255, font, anchor="mm")
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)


def _cut(text: str, width: int, height: int) -> str:
    """As much of the text as fits in a band."""
    font = ImageFont.load_default(round(LETTERS * height))
    while font.getlength(text) > width and len(text) > len(CUT):
        text = text[: -len(CUT) - 1] + CUT
    return text


def sheet(pictures: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One picture, [1, height, width, 3] in [0, 1]: a column for each level, its label at the top.

    pictures: [rows, columns, h, w, 3] in [0, 1]. labels: [columns, label height, w], 1 where there is ink.
    """
    gap = max(4, pictures.shape[3] // 32)
    paper, ink = torch.tensor(PAPER), torch.tensor(INK)
    bands = torch.lerp(paper, ink, labels[..., None])
    columns = [
        torch.cat([band, *_between(column, paper.expand(gap, band.shape[1], 3))])
        for band, column in zip(bands, pictures.transpose(0, 1), strict=True)
    ]
    line = paper.expand(columns[0].shape[0], gap, 3)
    across = torch.cat([line, *(part for column in columns for part in (column, line))], dim=1)
    edge = paper.expand(gap, across.shape[1], 3)
    return torch.cat([across, edge])[None]


def _between(rows: torch.Tensor, gap: torch.Tensor) -> list[torch.Tensor]:
    return [part for row in rows for part in (row, gap)][:-1]
