"""How like a picture is to the plain one of the same prompt and seed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .judges import finite, pixels
from .q16 import Clip


class Likeness(Protocol):
    """name: as the report says it; key: the same with its version, by which values are stored."""

    name: str
    key: str

    def compare(self, picture: bytes, plain: bytes) -> float:
        """The value for two PNG files' bytes."""
        ...


class PixelDistance:
    """Root of the mean squared difference of pixels in [0, 1]: 0 where the pictures are the same."""

    name = key = "pixel distance"

    def compare(self, picture: bytes, plain: bytes) -> float:
        first, second = pixels(picture), pixels(plain)
        if first.shape != second.shape:
            raise ValueError(f"the pictures have the sizes {first.shape[:2]} and {second.shape[:2]}")
        return finite(float(np.sqrt(np.mean((first - second) ** 2))))


class ClipSimilarity:
    """The cosine of CLIP's features of the two pictures: 1 where they are the same."""

    name = "CLIP similarity"

    def __init__(self, clip: Any) -> None:
        self._clip: Clip = clip
        self.key = f"similarity by {clip.key}"

    def compare(self, picture: bytes, plain: bytes) -> float:
        return finite(float(self._clip.features(picture) @ self._clip.features(plain)))
