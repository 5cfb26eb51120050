"""What a demo picture shows: objects with their places and scores, and the background colour.

A small convolutional network, trained on renders of the demo world. Some of them are degraded (blur, noise, ghosts of
30 to 70 % opacity), because guided pictures can hold half-removed objects, which must be counted too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from . import world

WEIGHTS = Path(__file__).parent / "weights" / "detector.safetensors"
CELL = 8  # pixels per cell of the score map
SEEN, HALF_SEEN = 0.8, 0.2  # a score of at least SEEN counts as seen, one between the two as half seen


@dataclass(frozen=True)
class Sight:
    """One object in a picture: score in [0,1], centre in fractions of width and height."""

    noun: str
    score: float
    x: float
    y: float


@dataclass(frozen=True)
class Report:
    """Everything seen in one picture with a score of at least HALF_SEEN, best first."""

    sights: tuple[Sight, ...]
    colour: str

    def score(self, noun: str) -> float:
        return max((s.score for s in self.sights if s.noun == noun), default=0.0)


class Block(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, 3, stride, 1)
        self.norm = nn.GroupNorm(8, outer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.norm(self.conv(x)))


class Detector(nn.Module):
    """Pictures [B, 3, SIZE, SIZE] in [0,1] to logits: scores [B, things, SIZE/8, SIZE/8] and colours [B, colours]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Block(3, 32, 2), Block(32, 64, 2), Block(64, 64, 1), Block(64, 96, 2))
        self.deep = nn.Sequential(Block(96, 96, 1), Block(96, 96, 1), Block(96, 96, 1))
        self.things = nn.Conv2d(96, len(world.THINGS), 1)
        self.colour = nn.Linear(64, len(world.COLOURS))
        # Slope and offset of the scores, fitted after training, because the focal loss makes scores too low.
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = self.body[:3](pictures * 2 - 1)
        middle = self.body[3](low)
        # Most cells are background, so a plain mean is enough to tell its colour.
        return self.things(middle + self.deep(middle)), self.colour(low.mean((2, 3)))

    @torch.no_grad()
    def see(self, pictures: torch.Tensor) -> list[Report]:
        """Reports on pictures, ComfyUI's IMAGE [B, H, W, 3] in [0,1], resized to the demo world's size where needed."""
        batch = pictures.movedim(-1, 1).float()
        if batch.shape[-2:] != (world.SIZE, world.SIZE):
            batch = F.interpolate(batch, (world.SIZE, world.SIZE), mode="area")
        logits, colours = self(batch)
        scores = (logits * self.calibration[0] + self.calibration[1]).sigmoid()
        return [self._report(*one) for one in zip(scores, colours, strict=True)]

    @staticmethod
    def _report(scores: torch.Tensor, colour: torch.Tensor) -> Report:
        side = scores.shape[-1]
        sights = []
        for i, thing in enumerate(world.THINGS):
            best, cell = scores[i].flatten().max(0)
            if best < HALF_SEEN:
                continue
            row, column = divmod(int(cell), side)
            rows = slice(max(row - 1, 0), row + 2)
            columns = slice(max(column - 1, 0), column + 2)
            near = scores[i, rows, columns]
            y = (near.sum(1) * torch.arange(side)[rows]).sum() / near.sum()
            x = (near.sum(0) * torch.arange(side)[columns]).sum() / near.sum()
            sights.append(Sight(thing.noun, float(best), float(x + 0.5) / side, float(y + 0.5) / side))
        sights.sort(key=lambda s: -s.score)
        return Report(tuple(sights), list(world.COLOURS)[int(colour.argmax())])


def load(path: Path = WEIGHTS) -> Detector:
    """The trained detector, on the CPU."""
    from safetensors.torch import load_file

    detector = Detector()
    detector.load_state_dict({k: v.float() for k, v in load_file(str(path)).items()})
    return detector.eval()
