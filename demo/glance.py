"""The second detector of the demo world, the one that looks while a picture is made; demo/detector.py judges it.

It has nothing in common with the judge but the world: depthwise convolutions, and it learns from what a render shows
alone, never where: a picture's score of a thing is the soft maximum over its map. Its renders are other ones too: with
other colours, rebuilt by the autoencoder from noisy latents (as predictions in the middle of a run look), and things
that are half there count as there.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from . import world
from .detector import HALF_SEEN, Sight

WEIGHTS = Path(__file__).parent / "weights" / "glance.safetensors"
SHARPNESS = 4.0  # of the soft maximum


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, added to their input where the shapes allow it."""

    def __init__(self, inner: int, outer: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inner, inner, 5, stride, 2, groups=inner, bias=False)
        self.norm = nn.GroupNorm(1, inner)
        self.widen = nn.Conv2d(inner, 2 * outer, 1)
        self.narrow = nn.Conv2d(2 * outer, outer, 1)
        self.keeps_shape = inner == outer and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.narrow(F.gelu(self.widen(self.norm(self.depthwise(x)))))
        return x + y if self.keeps_shape else y


class Glance(nn.Module):
    """Pictures [B, 3, SIZE, SIZE] in [0,1] to logits by cell [B, things, SIZE/8, SIZE/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Conv2d(3, 24, 4, 2, 1)
        self.body = nn.Sequential(
            Separable(24, 48, 2), Separable(48, 48), Separable(48, 72, 2), *(Separable(72, 72) for _ in range(4))
        )
        self.norm = nn.GroupNorm(1, 72)
        self.things = nn.Conv2d(72, len(world.THINGS), 1)
        nn.init.constant_(self.things.bias, -5.0)  # few things are in a picture
        # Slope and offset of the scores, fitted after training.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.things(self.norm(self.body(F.gelu(self.begin(pictures * 2 - 1)))))

    def logits(self, cells: torch.Tensor) -> torch.Tensor:
        """[B, things] of a picture, from those of its cells."""
        return (SHARPNESS * cells.flatten(2)).logsumexp(2) / SHARPNESS

    @torch.no_grad()
    def see(self, pictures: torch.Tensor) -> list[tuple[Sight, ...]]:
        """What pictures show with a score of at least HALF_SEEN, best first. pictures: IMAGE [B, H, W, 3] in [0, 1]."""
        batch = pictures.movedim(-1, 1).float()
        if batch.shape[-2:] != (world.SIZE, world.SIZE):
            batch = F.interpolate(batch, (world.SIZE, world.SIZE), mode="area")
        cells = self(batch)
        scores = (self.logits(cells) * self.calibration[0] + self.calibration[1]).sigmoid()
        return [self._sights(*one) for one in zip(scores, cells, strict=True)]

    @staticmethod
    def _sights(scores: torch.Tensor, cells: torch.Tensor) -> tuple[Sight, ...]:
        # A cell of three halvings looks at the pixels around 8 k + 1, not around its square's centre.
        at = (8 * torch.arange(cells.shape[-1]) + 1.0) / world.SIZE
        sights, side = [], cells.shape[-1]
        for thing in (scores >= HALF_SEEN).nonzero().flatten().tolist():
            share = (SHARPNESS * cells[thing]).flatten().softmax(0).view(side, side)
            x, y = float((share.sum(0) * at).sum()), float((share.sum(1) * at).sum())
            sights.append(Sight(world.THINGS[thing].noun, float(scores[thing]), x, y))
        return tuple(sorted(sights, key=lambda one: -one.score))


def load(path: Path = WEIGHTS) -> Glance:
    """The trained detector, on the CPU."""
    from safetensors.torch import load_file

    glance = Glance()
    glance.load_state_dict({k: v.float() for k, v in load_file(str(path)).items()})
    return glance.eval()
