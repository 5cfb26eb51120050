"""SafelightConceptVector: the difference of unsafe prompts from their safe versions, position by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.edits.edit_file import Edit
from safelight.engine.concept_vectors import SAFE_PROMPTS, UNSAFE_PROMPTS, make_vector
from safelight.engine.edit_files import EDIT_TYPE

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightConceptVector:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": (
                    "CLIP",
                    {
                        "tooltip": "The text encoder of the model that will sample. A vector fits the text "
                        "encoder that it was made with."
                    },
                ),
                "unsafe_prompts": (
                    "STRING",
                    {
                        "default": UNSAFE_PROMPTS,
                        "multiline": True,
                        "tooltip": "Prompts with the concept, one per line. For a vector of one concept write only "
                        "prompts of that.",
                    },
                ),
                "safe_prompts": (
                    "STRING",
                    {
                        "default": SAFE_PROMPTS,
                        "multiline": True,
                        "tooltip": "The same prompts without the concept: each line is the twin of the line in "
                        "unsafe_prompts, in the same order and, where it can be, of the same length.",
                    },
                ),
            },
        }

    RETURN_TYPES = (EDIT_TYPE,)
    RETURN_NAMES = ("vector",)
    OUTPUT_TOOLTIPS = ("For `vector` of Safelight Context Encode, and for Safelight Save Edit.",)
    FUNCTION = "make"
    CATEGORY = inputs.EDITS
    DESCRIPTION = (
        "Makes a concept vector from pairs of prompts: the mean of what the text encoder gives for the unsafe one less "
        "what it gives for the safe one. Safelight Context Encode takes it away (method subtract). After Ring-A-Bell."
    )
    SEARCH_ALIASES = ["Ring-A-Bell", "concept vector", "steering vector", "direction"]

    def make(self, clip: CLIP, unsafe_prompts: str = UNSAFE_PROMPTS, safe_prompts: str = SAFE_PROMPTS) -> tuple[Edit]:
        return (make_vector(clip, unsafe_prompts, safe_prompts),)
