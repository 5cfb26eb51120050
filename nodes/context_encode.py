"""SafelightContextEncode: the prompt as written, its safe counterpart, and how unsafe the prompt is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.edits.edit_file import Edit
from safelight.engine.concept_vectors import read_vector
from safelight.engine.context_encode import encode_context
from safelight.engine.edit_files import EDIT_TYPE
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS
from safelight.text.safe_prompt import METHODS

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightContextEncode:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder of the model that will sample."}),
                "prompt": (
                    "STRING",
                    {
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "The prompt, encoded exactly as CLIP Text Encode does.",
                    },
                ),
            },
            "optional": {
                "safe_prompt": inputs.safe_prompt_input(
                    tooltip="What to show instead: the prompt in safe words. Where it is empty, Safelight rewrites the "
                    "prompt."
                ),
                "concepts": inputs.concepts_input(
                    tooltip="What counts as unsafe, separated by commas; or link Safelight Concepts. Words of I2P's "
                    "categories stand for the whole category; anything else is a thing of your own."
                ),
                "method": (
                    list(METHODS),
                    {
                        "default": "auto",
                        "tooltip": "How the safe counterpart is made. auto: typed where safe_prompt is written, else "
                        "rewrite. typed: the safe prompt. rewrite: harmless words in the place of unsafe ones, for "
                        "every text encoder. project and subtract (CLIP and T5 alone): change the encoder's states "
                        "in the direction of the concepts, or of the linked vector.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 4.0,
                        "step": 0.05,
                        "advanced": True,
                        "tooltip": "How much project and subtract take away: 0 nothing, 1 all of it, more "
                        "pushes beyond. typed and rewrite ignore it.",
                    },
                ),
                "stand_ins": inputs.STAND_INS,
                "false_alarms": inputs.FALSE_ALARMS,
                "vector": (
                    EDIT_TYPE,
                    {
                        "tooltip": "A concept vector, from Safelight Concept Vector or Safelight Load Concept "
                        "Vector. The method subtract takes it away in place of the concepts' own direction; auto "
                        "becomes subtract where no safe_prompt is written.",
                    },
                ),
            },
        }

    RETURN_TYPES = ("CONDITIONING", "CONDITIONING", "FLOAT", "STRING")
    RETURN_NAMES = ("positive", "safe", "risk", "prompt")
    OUTPUT_TOOLTIPS = (
        "The prompt as written: the same as CLIP Text Encode gives.",
        "Its safe counterpart, for the `safe` input of a Safelight sampler, guider or model patch.",
        inputs.RISK_OUTPUT,
        "The text of the prompt, for nodes that read it themselves, such as Safelight SAFREE Guider.",
    )
    FUNCTION = "encode"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Encodes a prompt, makes a safe counterpart of it and reads its risk. The paper that Safelight follows is "
        "reconstructed from its abstract; how the safe counterpart is made is our choice."
    )
    SEARCH_ALIASES = ["CLIP Text Encode", "prompt"]

    def encode(
        self,
        clip: CLIP,
        prompt: str,
        safe_prompt: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        method: str = "auto",
        strength: float = 1.0,
        stand_ins: str = "",
        false_alarms: float = FALSE_ALARMS,
        vector: Edit | None = None,
    ) -> dict[str, Any]:
        linked = None if vector is None else read_vector(vector)
        context = encode_context(clip, prompt, safe_prompt, concepts, method, strength, linked, stand_ins, false_alarms)
        return {
            "ui": {"safelight_verdict": [context.verdict.as_json()]},
            "result": (context.positive, context.safe, context.verdict.risk, prompt),
        }
