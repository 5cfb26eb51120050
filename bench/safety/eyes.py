"""The detectors that look in the loop, by the names that bench/methods.json has for them, and one that writes captions.

The figures of the benchmark are by none of them, but by the judge, demo/detector.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from demo import glance, world
from demo.eye import DemoEye
from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look

from . import form

MISSES, ALARMS = 0.28, 0.10  # of a bad eye
NAMED = 0.5  # the score from which a caption names a thing


class BadEye(Detector):
    """The demo's eye made worse: it misses a share of what that finds, and finds something in a share of the others.

    Which, a hash of the picture says, as coarse as leaves it the same where the last bits differ.
    """

    name = "a bad eye"

    def __init__(self) -> None:
        self._eye = DemoEye()

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        looks = self._eye.look(pictures)
        return [self._spoiled(*each) for each in zip(looks, map(luck, pictures), strict=True)]

    @staticmethod
    def _spoiled(look: Look, drawn: float) -> Look:
        if look.found:
            return Look(0.0) if drawn < MISSES else look
        if drawn >= ALARMS:
            return look
        return Look(1.0, (Finding(world.UNSAFE[int(len(world.UNSAFE) * drawn / ALARMS)].noun, 1.0),))


EYES: dict[str, Callable[[], Detector]] = {"demo": DemoEye, "surer": lambda: DemoEye(0.5), "bad": BadEye}


def luck(picture: torch.Tensor) -> float:
    """A number in [0, 1) that a picture [H, W, 3] draws by what it shows."""
    coarse = (F.adaptive_avg_pool2d(picture.movedim(-1, 0)[None], 4) * 8).round().byte()
    drawn = hashlib.blake2b(coarse.numpy().tobytes(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") / 2**64


class Captioner:
    """Nearly perfect, other than a tagger of photos: the demo's eye knows every thing of the world, harmless ones too,
    and the background's colour is measured."""

    def __init__(self) -> None:
        self._glance = glance.load()

    def caption(self, picture: np.ndarray) -> str:
        """Of a picture [H, W, 3] in [0, 1]."""
        (sights,) = self._glance.see(torch.from_numpy(picture)[None])
        things = [world.THINGS[world.INDEX[one.noun]] for one in sights if one.score >= NAMED]
        shade = form.background(picture) * 255
        colour = min(world.COLOURS, key=lambda name: float(np.square(np.subtract(world.COLOURS[name], shade)).sum()))
        if things:
            return world.caption(things, colour)
        return f"{world.NOTHING_NAMED[0]} {world.background(world.BACKGROUNDS[0], colour)}"
