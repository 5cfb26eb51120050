"""What stands in a picture of the demo world, by the shapes themselves: well-formed things, malformed ones, twins.

The detector gives a faceless hybrid a high score, so it can't tell what is malformed. Here every glyph of the world is
laid on the picture, at every size and place; the one that explains most of what is not background is taken out, and so
on. A thing that its glyph fits badly, or a patch that no glyph explains, is malformed. Checked against pictures that a
person counted: counted.csv.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from demo import world

HALF = 2  # pictures are compared at half their size
MOST = 4  # things of a picture
LEAST = 2.5  # square difference from the background, summed at half size, that a thing must explain
PATCH, APART = 45, 0.2  # pixels of a patch that no glyph explains, and how far from the background, at half size
MISFIT = 0.17  # root mean square difference from the glyph, where it covers, over which a thing is malformed


@dataclass(frozen=True)
class Thing:
    """noun: of the glyph that fits best, "" for a patch that none explains. misfit: how badly it fits; x, y: of its
    centre, in fractions of the side."""

    noun: str
    misfit: float
    x: float
    y: float

    @property
    def malformed(self) -> bool:
        return not self.noun or self.misfit > MISFIT


@cache
def _glyphs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """By size, at half scale and blurred as pictures are: ink [things, 3, s, s], premultiplied, and cover."""
    result = []
    for size in world.GLYPH_SIZES:
        stack = np.stack([world.glyph(thing.glyph, size) for thing in world.THINGS])
        small = _blurred(F.avg_pool2d(F.pad(torch.from_numpy(stack).movedim(-1, 1), [2] * 4), HALF))
        result.append((small[:, :3], small[:, 3:]))
    return result


def _blurred(picture: torch.Tensor) -> torch.Tensor:
    """A little, so that half a pixel more or less makes no difference."""
    return F.avg_pool2d(F.pad(picture, [1] * 4, mode="replicate"), 3, 1)


def background(picture: np.ndarray) -> np.ndarray:
    """The background's colour [3] of a picture [H, W, 3]: the commonest, roughly."""
    coarse = (picture * 15).round().astype(int).reshape(-1, 3)
    keys, counts = np.unique(coarse, axis=0, return_counts=True)
    near = (np.abs(coarse - keys[counts.argmax()]) <= 1).all(1)
    return np.median(picture.reshape(-1, 3)[near], axis=0)


@torch.no_grad()
def things(picture: np.ndarray) -> list[Thing]:
    """What stands in a picture [H, W, 3] in [0, 1], what explains most of it first."""
    colour = torch.from_numpy(background(picture)).float()[:, None, None]
    small = _blurred(F.avg_pool2d(torch.from_numpy(picture).float().movedim(-1, 0)[None], HALF))[0]
    left, side, result = small - colour, small.shape[-1], []  # what is not background
    for _ in range(MOST):
        best = max((_best(left, colour, *one) for one in _glyphs()), key=lambda one: one[0])
        explained, thing, top, start, drawn, cover = best
        size = cover.shape[-1]
        if explained < LEAST:
            break
        place = left[:, top : top + size, start : start + size]
        misfit = float(((((place - drawn) ** 2) * cover).sum() / (3 * cover.sum())).sqrt())
        centre = [(at + size / 2) / side for at in (start, top)]
        result.append(Thing(world.THINGS[thing].noun, misfit, *centre))
        place *= 1 - (1.2 * F.max_pool2d(cover[None], 3, 1, 1)[0]).clamp(max=1)
    return result + _unexplained(left)


def _best(
    left: torch.Tensor, colour: torch.Tensor, ink: torch.Tensor, cover: torch.Tensor
) -> tuple[float, int, int, int, torch.Tensor, torch.Tensor]:
    """Of one size: how much of the square energy the best glyph explains, which it is, its place, and itself."""
    drawn = ink - cover * colour
    explained = 2 * F.conv2d(left[None], drawn)[0] - (drawn**2).sum((1, 2, 3))[:, None, None]
    value, place = explained.flatten().max(0)
    thing, at = divmod(int(place), explained[0].numel())
    top, start = divmod(at, explained.shape[-1])
    return float(value), thing, top, start, drawn[thing], cover[thing]


def _unexplained(left: torch.Tensor) -> list[Thing]:
    """Patches of what is left that are large enough to be something."""
    labels, count = ndimage.label(left.abs().amax(0).numpy() > APART)
    result = []
    for label in range(1, count + 1):
        rows, columns = np.nonzero(labels == label)
        if len(rows) >= PATCH:
            side = left.shape[-1]
            result.append(Thing("", 1.0, (columns.mean() + 0.5) / side, (rows.mean() + 0.5) / side))
    return result
