"""SafelightContextEncode: the prompt as written, its safe counterpart, and how unsafe the prompt is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.edits.edit_file import Edit
from safelight.engine.concept_vectors import read_vector
from safelight.engine.context_encode import METHODS, encode_context
from safelight.engine.edit_files import EDIT_TYPE
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.risk import DECISION

from .inputs import SEARCH_ALIASES

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
                "safe_prompt": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "What to show instead: the prompt in safe words. Used by the methods typed and "
                        "auto; may stay empty for the others.",
                    },
                ),
                "concepts": (
                    "STRING",
                    {
                        "default": DEFAULT_CONCEPTS,
                        "multiline": True,
                        "tooltip": "What counts as unsafe, separated by commas; or link Safelight Concepts. Risk and "
                        "the methods project and subtract go by these words.",
                    },
                ),
                "method": (
                    list(METHODS),
                    {
                        "default": "auto",
                        "tooltip": "How the safe counterpart is made. auto: typed where safe_prompt is written, else "
                        "project. typed: the safe prompt. project: makes everyday words of those that "
                        "carry something unsafe. subtract: moves every word away from the concepts, or from "
                        "the linked vector.",
                    },
                ),
                "strength": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 4.0,
                        "step": 0.05,
                        "tooltip": "How much project and subtract take away: 0 nothing, 1 all of it, more "
                        "pushes beyond. typed ignores it.",
                    },
                ),
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
        f"How unsafe the prompt is, 0 to 1, {DECISION} being the decision point of this text encoder. 1 where it can't "
        "be told.",
        "The text of the prompt, for nodes that read it themselves, such as Safelight SAFREE Guider.",
    )
    FUNCTION = "encode"
    CATEGORY = "Safelight/conditioning"
    DESCRIPTION = (
        "Encodes a prompt, makes a safe counterpart of it and measures its risk. The paper that Safelight follows is "
        "reconstructed from its abstract; how the safe counterpart is made is our choice."
    )
    SEARCH_ALIASES = [*SEARCH_ALIASES, "CLIP Text Encode", "prompt"]

    def encode(
        self,
        clip: CLIP,
        prompt: str,
        safe_prompt: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        method: str = "auto",
        strength: float = 1.0,
        vector: Edit | None = None,
    ) -> dict[str, Any]:
        linked = None if vector is None else read_vector(vector)
        context = encode_context(clip, prompt, safe_prompt, concepts, method, strength, linked)
        return {
            "ui": {"safelight_verdict": [context.verdict()]},
            "result": (context.positive, context.safe, context.risk, prompt),
        }
