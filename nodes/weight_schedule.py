"""SafelightWeightSchedule: when, and how strongly, the safe prompt steers."""

from __future__ import annotations

import re
from typing import Any

from safelight.guidance.schedule import AXES, CUSTOM, DEFAULT_PRESET, PRESETS, START_SHIFT, WeightSchedule, from_preset

FULL = '{"points":[[0,1],[1,1]],"interpolation":"linear"}'


class SafelightWeightSchedule:
    CATEGORY = "Safelight/sampling"
    DESCRIPTION = (
        "When, and how strongly, the safe prompt steers the picture: the weight along the run, which the "
        "slider called safety scales. Before `context` the prompt as written steers alone, so that layout and colours "
        "settle; a lower slider begins later."
    )
    SEARCH_ALIASES = ["schedule", "curve", "weight", "context"]
    RETURN_TYPES = ("SAFELIGHT_SCHEDULE",)
    RETURN_NAMES = ("schedule",)
    OUTPUT_TOOLTIPS = ("The schedule, for the schedule input of any Safelight sampling node.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "preset": (
                    [*PRESETS, CUSTOM],
                    {
                        "default": DEFAULT_PRESET,
                        "tooltip": "gentle, balanced, strict and maximum steer at full weight, from ever earlier on "
                        "(context 0.30, 0.20, 0.14, 0; a lower slider begins later). ramp up, ramp down and "
                        "bell change the weight along the way. custom uses the context and the curve below; "
                        "the others ignore both.",
                    },
                ),
                "context": (
                    "FLOAT",
                    {
                        "default": 0.2,
                        "min": 0.0,
                        "max": 1.0,
                        "step": 0.01,
                        "tooltip": "For preset custom: the progress, from 0 (noise) to 1 (picture), before which the "
                        "prompt as written steers alone at safety 1; a lower slider begins later, by up to "
                        f"{START_SHIFT:g}. Lower is safer, higher keeps more of the layout.",
                    },
                ),
                "axis": (
                    list(AXES),
                    {
                        "default": AXES[0],
                        "tooltip": "What progress means. noise level: how much noise is left, on the scale of "
                        "ConditioningSetTimestepRange; the same for any number of steps. steps: the share of "
                        "the steps done.",
                    },
                ),
            },
            "optional": {
                # Text, since converters of saved workflows read no other kind of widget value alike.
                "curve": (
                    "STRING",
                    {
                        "widgetType": "SAFELIGHT_CURVE",
                        "default": FULL,
                        "tooltip": "For preset custom: the weight along the run, as JSON text with points [progress, "
                        "height] from 0 to 1. interpolation is linear, monotone_cubic or step.",
                    },
                ),
                "curve_editor": (
                    "CURVE",
                    {
                        "forceInput": True,
                        "tooltip": "For preset custom: a curve linked from a core Curve Editor. It acts in the place "
                        "of curve.",
                    },
                ),
            },
        }

    # There is no VALIDATE_INPUTS: whether `curve` is read depends on `preset`, and the host would show an error of the
    # curve at both. The host checks the other inputs by their declarations.

    def make(
        self, preset: str, context: float, axis: str, curve: Any = FULL, curve_editor: Any = None
    ) -> tuple[WeightSchedule]:
        if curve_editor is None:
            return (from_preset(preset, context, axis, curve),)
        try:
            return (from_preset(preset, context, axis, curve_editor),)
        except ValueError as error:
            raise ValueError(re.sub(r"^curve\b", "curve_editor", str(error))) from error
