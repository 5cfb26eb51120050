"""SafelightDemoDetector: sees the unsafe things of the small model's world."""

from __future__ import annotations

from typing import Any

from safelight.checks import check_numbers
from safelight.detect.detector import Detector

from . import inputs
from .bases import DetectorNode


class SafelightDemoDetector(DetectorNode):
    CATEGORY = "Safelight/demo"
    DESCRIPTION = (
        "A detector for pictures of Safelight Demo Model: it knows the small model's unsafe things, and where they "
        "are. It comes with the pack, to try looking without a download."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        tooltip = "How sure the detector has to be. At .2 a thing that is half there counts as found."
        return {"required": {"threshold": inputs.threshold_input(0.2, 0.2, tooltip)}}

    def make(self, threshold: float = 0.2) -> tuple[Detector]:
        from ..demo.eye import DemoEye  # type: ignore[import-not-found]  # above `nodes` only in the pack as the host loads it

        check_numbers(threshold=threshold)
        return (DemoEye(threshold),)
