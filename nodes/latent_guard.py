"""SafelightLatentGuard: a guard of prompts for the artist's concepts, trained on their own text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.edit_files import EDIT_TYPE
from safelight.engine.latent_guard import make_guard
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightLatentGuard:
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": (
                    "CLIP",
                    {
                        "tooltip": "A text encoder whose rows are single words (CLIP or T5), from before any LoRA. It "
                        "stays as it is; the guard fits this one alone."
                    },
                ),
                "concepts": inputs.concepts_input(
                    "What counts as unsafe, separated by commas; or link Safelight Concepts. The more words for a "
                    "concept, the better it is known."
                ),
            },
            "optional": {
                "harmless": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Things that are near the concepts and harmless, separated by commas: a butter "
                        "knife, red paint. They are added to those that come with Safelight.",
                    },
                ),
                "seed": inputs.training_seed(
                    "Which texts it learns from, and its start. The same seed gives the same guard."
                ),
            },
        }

    RETURN_TYPES = (EDIT_TYPE,)
    RETURN_NAMES = ("guard",)
    OUTPUT_TOOLTIPS = ("For Safelight Latent Guard Risk, and for Safelight Save Edit.",)
    FUNCTION = "train"
    CATEGORY = inputs.DETECT
    DESCRIPTION = (
        "Trains a small guard of prompts on your own text encoder, from texts that it makes of your concepts: in "
        'seconds to a minute, with no language model and no download. After "Latent Guard". A guard of texts alone is '
        "no defence; look at the pictures too."
    )
    SEARCH_ALIASES = ["latent guard", "risk", "gate", "prompt filter"]

    def train(self, clip: CLIP, concepts: str = DEFAULT_CONCEPTS, harmless: str = "", seed: int = 0) -> dict[str, Any]:
        guard, note = make_guard(clip, concepts, harmless, seed)
        return {"ui": {"safelight_note": [note]}, "result": (guard,)}
