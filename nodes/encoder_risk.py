"""SafelightEncoderRisk: how unsafe a prompt is, by the states of the artist's own text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.encoder_risk import encoder_risk
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightEncoderRisk:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "A text encoder whose rows are single words: CLIP or T5."}),
                "prompt": ("STRING", {"default": "", "multiline": True, "tooltip": "The prompt to measure."}),
            },
            "optional": {"concepts": inputs.concepts_input()},
        }

    RETURN_TYPES = ("FLOAT",)
    RETURN_NAMES = ("risk",)
    OUTPUT_TOOLTIPS = (
        "How unsafe the prompt is by this encoder, 0 to 1; .5 parts unsafe calibration phrases from others.",
    )
    FUNCTION = "measure"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Measures a prompt by the states of your own text encoder, calibrated on a few dozen phrases that it encodes "
        "once (kept on disk). It finds less than the reader of Safelight Prompt does; it is for words that only your "
        "encoder knows, such as those of another language or of a trained one."
    )
    SEARCH_ALIASES = ["risk", "gate", "calibration"]

    def measure(self, clip: CLIP, prompt: str, concepts: str = DEFAULT_CONCEPTS) -> dict[str, Any]:
        risk, note = encoder_risk(clip, prompt, concepts)
        return {"ui": {"safelight_note": [note]}, "result": (risk,)}
