"""SafelightNudeNet: a detector of bare skin, from the optional package nudenet."""

from __future__ import annotations

from typing import Any

from safelight.checks import check_numbers
from safelight.detect.detector import Detector
from safelight.detect.nudenet import CLASSES, DEFAULT_THRESHOLD, EXPOSED, LEAST, NudeNet

from . import inputs
from .bases import DetectorNode

_TICKS = {name: name.lower() for name in CLASSES}


class SafelightNudeNet(DetectorNode):
    DESCRIPTION = (
        "A detector of bare skin, for Safelight KSampler and Safelight Look: NudeNet, a small model on the processor, "
        "some hundredths of a second a picture. It needs the Python package nudenet, whose weights come with it. It "
        "knows photographs best; a drawing may pass it."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        threshold = inputs.threshold_input(
            DEFAULT_THRESHOLD,
            LEAST,
            "How sure NudeNet has to be for a part to count as found. Lower finds more, and is wrong more often.",
        )
        ticks = {
            tick: (
                "BOOLEAN",
                {
                    "default": name in EXPOSED,
                    "tooltip": f"Whether this counts: {tick.replace('_', ' ')}.",
                    **({} if name in EXPOSED else {"advanced": True}),
                },
            )
            for name, tick in _TICKS.items()
        }
        return {"required": {"threshold": threshold}, "optional": ticks}

    def make(self, threshold: float, **ticks: bool) -> tuple[Detector]:
        check_numbers(threshold=threshold)
        chosen = [name for name, tick in _TICKS.items() if ticks.get(tick, name in EXPOSED)]
        return (NudeNet(chosen, threshold),)
