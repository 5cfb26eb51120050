"""SafelightSemanticSurgery: a prompt's conditioning without the concepts that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import strength_number
from safelight.engine.edit_files import MAX_STRENGTH
from safelight.engine.semantic_surgery import operate
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightSemanticSurgery:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": (
                    "CLIP",
                    {"tooltip": "The text encoder of the model that will sample; its rows have to be words: CLIP, T5."},
                ),
                "prompt": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "The prompt, encoded as CLIP Text Encode does.",
                    },
                ),
            },
            "optional": {
                "concepts": inputs.concepts_input(
                    tooltip="What is taken out of a prompt that names it, separated by commas or one per line; or link "
                    "Safelight Concepts."
                ),
                "strength": inputs.strength_input(
                    MAX_STRENGTH,
                    "How much of the concepts is taken out: 1 is the published method, more goes beyond it. At 0 the "
                    "prompt stays as written, bit for bit.",
                ),
            },
        }

    RETURN_TYPES = ("CONDITIONING", "FLOAT", "STRING")
    RETURN_NAMES = ("conditioning", "risk", "removed")
    OUTPUT_TOOLTIPS = (
        "The prompt without the concepts: for `positive` of any sampler, or `safe` of a Safelight sampler. Where the "
        "prompt names none it is what CLIP Text Encode gives.",
        "How probable it is that the prompt names a concept, 0 to 1; from .5 on it is taken out.",
        "The concepts that were taken out, the most probable first.",
    )
    FUNCTION = "encode"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Semantic Surgery (NeurIPS 2025): measures by your text encoder's states which concepts a prompt names, and "
        "subtracts those from it before sampling. A related method, to compare Safelight with; its loop with a "
        "detector is left out."
    )
    SEARCH_ALIASES = ["concept erasure", "CLIP Text Encode", "prompt"]

    def encode(
        self, clip: CLIP, prompt: str, concepts: str = DEFAULT_CONCEPTS, strength: float = 1.0
    ) -> dict[str, Any]:
        operated = operate(clip, prompt, concepts, strength_number(strength, MAX_STRENGTH))
        result = (operated.conditioning, operated.risk, ", ".join(operated.removed))
        return {"ui": {"safelight_note": [operated.note]}, "result": result}
