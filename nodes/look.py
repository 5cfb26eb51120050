"""SafelightLook: what a detector finds in pictures, and whether they pass."""

from __future__ import annotations

from typing import Any

import torch

from safelight.checks import check_links
from safelight.detect.detector import Detector
from safelight.engine.detectors import look_at
from safelight.views.findings import HIDINGS, KEEP

from . import inputs
from .bases import ServedNode


class SafelightLook(ServedNode):
    RETURN_TYPES = ("IMAGE", "IMAGE", "BOOLEAN", "FLOAT", "STRING")
    RETURN_NAMES = ("image", "found", "passed", "score", "report")
    OUTPUT_TOOLTIPS = (
        "The pictures; with hide, what was found in them is blurred or blanked.",
        "The pictures with boxes and names over them.",
        "True where nothing was found in any of the pictures.",
        "The highest score of the pictures, 0 to 1; .5 and more is found.",
        "What was found in each picture, as JSON: names, scores, boxes.",
    )
    OUTPUT_NODE = True
    FUNCTION = "look"
    CATEGORY = "Safelight/inspect"
    SEARCH_ALIASES = ["detector", "blur", "NSFW checker"]
    DESCRIPTION = (
        "Looks at pictures with a detector and says what it finds. A picture that a detector can't look at counts as "
        "found by it. At the end of a server's workflow it can blur or blank what was found, picture by picture."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures, decoded."}),
                "detector": (
                    inputs.DETECTOR_TYPE,
                    {"tooltip": "What looks at them, such as Safelight NudeNet, or several as Safelight Detectors."},
                ),
                "hide": (
                    list(HIDINGS),
                    {
                        "default": KEEP,
                        "tooltip": "What to do where something was found: keep the picture as it is, blur or blank the "
                        "places. Without a place, the whole picture.",
                    },
                ),
            },
        }

    def look(self, images: torch.Tensor, detector: Detector, hide: str = KEEP) -> dict[str, Any]:
        check_links(images=images, detector=detector)
        return look_at(images, detector, hide, type(self).__name__)
