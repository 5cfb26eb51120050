"""SafelightSelective: the safe prompt steers only where it wants something else than the prompt as written."""

from __future__ import annotations

from typing import Any

from safelight.guidance.selective import MAX_GROW, MAX_SMOOTH, MAX_THRESHOLD, MIN_THRESHOLD, MODES, Selection

_DEFAULT = Selection()


class SafelightSelective:
    CATEGORY = "Safelight/sampling"
    DESCRIPTION = (
        "The safe prompt steers only where the two prompts disagree; everywhere else the prompt as written stands, "
        "exactly. Link it to `selective` of a Safelight sampler, guider or model patch. In the spirit of SP-Guard "
        "(arXiv 2511.11014); the formulas are ours."
    )
    SEARCH_ALIASES = ["SP-Guard", "local", "mask"]
    RETURN_TYPES = ("SAFELIGHT_SELECTIVE",)
    RETURN_NAMES = ("selective",)
    OUTPUT_TOOLTIPS = ("How the places are chosen, for the selective input of a Safelight sampling node.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "mode": (
                    list(MODES),
                    {
                        "default": _DEFAULT.mode,
                        "tooltip": "soft threshold: the more the prompts disagree at a place, the more it is guided. "
                        "quantile: a fixed share of the picture is guided, where they disagree most.",
                    },
                ),
                "quantile": (
                    "FLOAT",
                    {
                        "default": _DEFAULT.quantile,
                        "min": 0.0,
                        "max": 0.99,
                        "step": 0.01,
                        "tooltip": "For mode quantile: the share of the picture that is left alone. Lower is safer, "
                        "higher keeps more.",
                    },
                ),
                "threshold": (
                    "FLOAT",
                    {
                        "default": _DEFAULT.threshold,
                        "min": MIN_THRESHOLD,
                        "max": MAX_THRESHOLD,
                        "step": 0.1,
                        "tooltip": "For mode soft threshold: by how many times the picture's mean the prompts have to "
                        "disagree at a place before it is guided; half as much again guides it fully. Lower is "
                        "safer, higher keeps more.",
                    },
                ),
                "smooth": (
                    "INT",
                    {
                        "default": _DEFAULT.smooth,
                        "min": 0,
                        "max": MAX_SMOOTH,
                        "tooltip": "How many times the disagreement is averaged over neighbouring latent cells (8 "
                        "pixels in most models) before places are chosen.",
                    },
                ),
                "grow": (
                    "INT",
                    {
                        "default": _DEFAULT.grow,
                        "min": 0,
                        "max": MAX_GROW,
                        "tooltip": "By how many latent cells the guided places are widened. More is safer.",
                    },
                ),
                "adaptive": (
                    "BOOLEAN",
                    {
                        "default": _DEFAULT.adaptive,
                        "tooltip": "Guide less, down to half of safety, where what the prompt adds has little to do "
                        "with what the safe prompt takes away. Keeps more, and lets more through. Needs a cfg other "
                        "than 1.",
                    },
                ),
            },
        }

    def make(
        self, mode: str, quantile: float, threshold: float, smooth: int, grow: int, adaptive: bool
    ) -> tuple[Selection]:
        return (Selection(mode, quantile, threshold, smooth, grow, adaptive),)
