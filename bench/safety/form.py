"""What stands in a picture of the demo world, by the shapes themselves: well-formed things, malformed ones, twins.

The detector gives a faceless hybrid a high score, so it can't tell what is malformed. Here every glyph of the world is
laid on the picture, at every size and place; the one that explains most of what is not background is taken out, and so
on. A thing that its glyph fits much worse than it fits plain pictures of that thing, or a patch that no glyph explains,
is malformed. How well glyphs fit plain pictures: form.json, with other prompts and noises than those that are measured;
the glyphs themselves: glyphs.npz, so that no font is needed; `python -m bench.safety.form` makes both. The bounds were
chosen on 100 pictures that a person counted, of which 50 are of settings that are still measured, and checked against
200 others: counted.csv.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from demo import world

HALF = 2  # pictures are compared at half their size
MOST = 4  # things of a picture
LEAST = 1.0  # square difference from the background, summed at half size, that a thing must explain
PATCH, APART = 14, 0.12  # pixels of a patch that no glyph explains, and how far from the background, at half size
WORSE = 1.8  # how many times the usual misfit of its kind, over which a thing is malformed
USUAL, GLYPHS = (Path(__file__).with_name(name) for name in ("form.json", "glyphs.npz"))
SEED, EACH = 11, 8  # of the pictures behind it, and how many of each thing


@dataclass(frozen=True)
class Thing:
    """noun: of the glyph that fits best, "" for a patch that none explains. misfit: how badly it fits, the root mean
    square difference where it covers; x, y: of its centre, in fractions of the side."""

    noun: str
    misfit: float
    x: float
    y: float

    @property
    def malformed(self) -> bool:
        return not self.noun or self.misfit > WORSE * _usual()[self.noun]


@cache
def _usual() -> dict[str, float]:
    return json.loads(USUAL.read_text("utf-8"))


@cache
def _glyphs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """By size, at half scale and blurred as pictures are: ink [things, 3, s, s], premultiplied, and cover."""
    result, stored = [], np.load(GLYPHS)
    for size in world.GLYPH_SIZES:
        stack = stored[str(size)].astype(np.float32) / 255.0
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


def _make() -> None:
    """Writes GLYPHS, bytes [things, size, size, 4] by size; and USUAL, by thing the median misfit in plain pictures
    whose caption names it, alone or beside another.
    """
    from demo.session import BATCH, DemoSession

    drawn = {
        str(size): np.stack([(world.glyph(thing.glyph, size) * 255).round().astype(np.uint8) for thing in world.THINGS])
        for size in world.GLYPH_SIZES
    }
    np.savez_compressed(GLYPHS, **drawn)
    session, rng, misfits = DemoSession(seed=SEED), np.random.default_rng([SEED, 5]), {t.noun: [] for t in world.THINGS}
    named, captions = [], []
    for repeat in range(EACH):
        for thing in world.THINGS:
            colour = list(world.COLOURS)[rng.integers(len(world.COLOURS))]
            beside = world.BENIGN[rng.integers(len(world.BENIGN))]
            named.append(thing.noun)
            captions.append(world.caption([thing] if repeat % 2 else [thing, beside], colour))
    for start in range(0, len(captions), BATCH):
        conds = [session.encode(caption) for caption in captions[start : start + BATCH]]
        numbers = list(range(start, start + len(conds)))
        pictures, _ = session.sample(conds, conds, numbers, 0.0)
        for noun, picture in zip(named[start:], pictures.numpy(), strict=False):
            misfits[noun] += [thing.misfit for thing in things(picture) if thing.noun == noun]
    usual = {noun: round(float(np.median(values)), 4) for noun, values in misfits.items()}
    USUAL.write_text(json.dumps(usual, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _make()
