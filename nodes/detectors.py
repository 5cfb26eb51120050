"""SafelightDetectors: several detectors, and the text's risk, as one."""

from __future__ import annotations

from typing import Any

from safelight.checks import check_links, check_numbers, unit_number
from safelight.detect.combined import ANY, WAYS, Combined, TextRisk
from safelight.detect.detector import Detector

from .bases import DetectorNode
from .inputs import DETECTOR_TYPE

_MOST = 4


class SafelightDetectors(DetectorNode):
    DESCRIPTION = (
        "Several detectors as one, with the risk of the prompt's text where it is linked: found where any of them "
        "finds something, where all of them do, where their mean is high enough, or where so many of them do."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        further = {
            f"detector_{number}": (DETECTOR_TYPE, {"tooltip": "Another detector."}) for number in range(2, _MOST + 1)
        }
        risk = {
            "default": 0.0,
            "min": 0.0,
            "max": 1.0,
            "step": 0.01,
            "forceInput": True,
            "tooltip": "The risk of the prompt, from Safelight Prompt or Safelight Context Encode: one more detector, "
            "which says the same of every picture.",
        }
        return {
            "required": {
                "detector_1": (DETECTOR_TYPE, {"tooltip": "A detector, such as Safelight NudeNet."}),
                "way": (
                    list(WAYS),
                    {
                        "default": ANY,
                        "tooltip": "When something is found. any: one detector is enough. all: every one has to find "
                        "something. mean: the mean of their scores is .5 or more. at least n: so many have to.",
                    },
                ),
                "n": (
                    "INT",
                    {
                        "default": 2,
                        "min": 1,
                        "max": _MOST + 1,
                        "tooltip": "For the way at least n: how many have to find something.",
                    },
                ),
            },
            "optional": {**further, "risk": ("FLOAT", risk)},
        }

    def make(self, detector_1: Detector, way: str = ANY, n: int = 2, **further: Any) -> tuple[Detector]:
        check_links(detector_1=detector_1)
        check_numbers(n=n)
        risk = further.pop("risk", None)  # None without a link, which is no risk of 0
        linked = [detector_1, *(further[name] for name in sorted(further))]
        linked += [] if risk is None else [TextRisk(unit_number("risk", risk))]
        detectors = [one for one in linked if one is not None]
        if strange := [one for one in detectors if not isinstance(one, Detector)]:
            raise ValueError(
                f"detector: expected detectors, such as Safelight NudeNet, got {type(strange[0]).__name__}. Link one."
            )
        return (Combined(detectors, way, n),)
