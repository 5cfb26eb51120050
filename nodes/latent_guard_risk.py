"""SafelightLatentGuardRisk: what a trained guard says of a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.detect.combined import TextRisk
from safelight.edits.edit_file import Edit
from safelight.engine.edit_files import EDIT_TYPE
from safelight.engine.latent_guard import read_prompt

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightLatentGuardRisk:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder that the guard was trained on."}),
                "guard": (EDIT_TYPE, {"tooltip": "From Safelight Latent Guard or Safelight Load Latent Guard."}),
                "prompt": ("STRING", {"default": "", "multiline": True, "tooltip": "The prompt to measure."}),
            },
        }

    RETURN_TYPES = ("FLOAT", "STRING", "STRING", inputs.DETECTOR_TYPE)
    RETURN_NAMES = ("risk", "concept", "words", "detector")
    OUTPUT_TOOLTIPS = (
        "How unsafe the prompt is by this guard, 0 to 1; from .5 on it counts as unsafe. 1 where it can't be told.",
        "The concept that the prompt holds, empty for none.",
        "The words of the prompt and their shares of the attention of the likeliest concept.",
        "The same risk as a detector, for Safelight Detectors. It says the same of every picture.",
    )
    FUNCTION = "read"
    CATEGORY = inputs.DETECT
    DESCRIPTION = (
        "Reads a prompt with a guard that was trained on the same text encoder: how unsafe it is, which concept it "
        "holds and which words answer to that. A guard of texts alone is no defence; look at the pictures too."
    )
    SEARCH_ALIASES = ["latent guard", "risk", "gate", "prompt filter", "detector"]

    def read(self, clip: CLIP, guard: Edit, prompt: str) -> dict[str, Any]:
        reading = read_prompt(clip, guard, prompt)
        detector = TextRisk(reading.risk, *([f"{reading.concept} in the text"] if reading.concept else []))
        return {
            "ui": {"safelight_note": [reading.note]},
            "result": (reading.risk, reading.concept, reading.attention, detector),
        }
