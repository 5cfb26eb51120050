"""NudeNet's detector of body parts (notAI-tech/NudeNet 3.4, MIT), from the optional package `nudenet`.

Its weights are in its wheel, so nothing is downloaded. The released code swaps red and blue once too often: given an
array as OpenCV reads files, its model sees blue skin (a face in daylight .61, with the colours right .76). So it gets
red first here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, Look, best, on_scale

LEAST = 0.25  # what it says with less confidence the package leaves out
DEFAULT_THRESHOLD = 0.4
EXPOSED = (
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "BUTTOCKS_EXPOSED",
    "ANUS_EXPOSED",
)
OTHERS = (
    "MALE_BREAST_EXPOSED",
    "BELLY_EXPOSED",
    "ARMPITS_EXPOSED",
    "FEET_EXPOSED",
    "FEMALE_BREAST_COVERED",
    "FEMALE_GENITALIA_COVERED",
    "BUTTOCKS_COVERED",
    "ANUS_COVERED",
    "BELLY_COVERED",
    "ARMPITS_COVERED",
    "FEET_COVERED",
    "FACE_FEMALE",
    "FACE_MALE",
)
CLASSES = (*EXPOSED, *OTHERS)  # faces and covered parts don't count unless the artist says so


@cache
def _model() -> Any:
    """The package's detector, made once. Raises ValueError where the package is not installed."""
    try:
        from nudenet import NudeDetector  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(
            "Safelight NudeNet: expected the Python package nudenet, got none. In ComfyUI's Python environment: pip "
            f"install nudenet, then restart ComfyUI. ({error})"
        ) from None
    return NudeDetector()


class NudeNet(Detector):
    """classes: those of CLASSES that count; threshold: the confidence that counts as found.

    Raises ValueError, naming the input, for no or another class, or a threshold under LEAST.
    """

    name = "NudeNet"

    def __init__(self, classes: Collection[str] = EXPOSED, threshold: float = DEFAULT_THRESHOLD) -> None:
        if unknown := [name for name in classes if name not in CLASSES]:
            raise ValueError(f"classes: unknown class {unknown[0]!r}. Use some of {', '.join(CLASSES)}.")
        if not classes:
            raise ValueError("classes: expected at least one, got none. Tick what counts.")
        if not LEAST <= threshold < 1.0:  # true for NaN too
            raise ValueError(
                f"threshold: expected a number from {LEAST} to .99, got {threshold}. NudeNet says nothing with less "
                "confidence."
            )
        self._classes, self._threshold, self._model = frozenset(classes), threshold, _model()

    def _look(self, pictures: torch.Tensor) -> Sequence[Look]:
        arrays = [np.ascontiguousarray((picture.numpy() * 255).round().astype(np.uint8)) for picture in pictures]
        height, width = pictures.shape[1:3]
        return [
            best([self._finding(one, width, height) for one in seen if one["class"] in self._classes])
            for seen in self._model.detect_batch(arrays)
        ]

    def _finding(self, seen: dict[str, Any], width: int, height: int) -> Finding:
        x, y, w, h = seen["box"]
        box = (x / width, y / height, (x + w) / width, (y + h) / height)
        return Finding(seen["class"].lower().replace("_", " "), on_scale(seen["score"], self._threshold), box)
