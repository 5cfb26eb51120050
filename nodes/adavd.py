"""SafelightAdaVD: concepts out of what a model's cross-attentions hand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.checks import check_links, strength_number
from safelight.engine.decomposed_values import decomposed, last_words
from safelight.engine.edit_files import MAX_STRENGTH
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightAdaVD:
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model without the concepts; the one that was given stays as it is.",)
    FUNCTION = "apply"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["AdaVD", "value decomposer", "concept erasure"]
    DESCRIPTION = (
        "Adaptive value decomposition (AdaVD, CVPR 2025): in every cross-attention each word's value loses the part "
        "that lies along the concepts'. Nothing is trained, and the layout, which the keys decide, stays. A related "
        "method, to compare Safelight with: unlike Safelight it changes harmless pictures too."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        return {
            "required": {
                "model": inputs.MODEL,
                "clip": ("CLIP", {"tooltip": "The model's own text encoder."}),
                "concepts": inputs.concepts_input(
                    "What is unsafe, separated by commas or one per line. Of each the last word counts."
                ),
            },
            "optional": {
                "strength": inputs.strength_input(
                    MAX_STRENGTH,
                    "How much of the concepts' part is taken away: 1 is the published method, more goes beyond it. At "
                    "0 the model is the one that was given.",
                ),
                "adaptive": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Takes away by likeness: twice from what is nearly the concept, next to nothing "
                        "from other words.",
                    },
                ),
            },
        }

    def apply(
        self,
        model: ModelPatcher,
        clip: CLIP,
        concepts: str = DEFAULT_CONCEPTS,
        strength: float = 1.0,
        adaptive: bool = False,
    ) -> tuple[ModelPatcher]:
        check_links(model=model)
        if strength_number(strength, MAX_STRENGTH) == 0.0:
            return (model,)
        return (decomposed(model, last_words(clip, concepts), float(strength), bool(adaptive)),)
