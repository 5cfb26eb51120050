"""SafelightGrowthInhibitors: what a model's cross-attentions find of the targets, taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.checks import check_links, strength_number
from safelight.engine.edit_files import MAX_STRENGTH
from safelight.engine.inhibited_attention import inhibitors, target_texts
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightGrowthInhibitors:
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model that takes the targets away; the one that was given stays as it is.",)
    FUNCTION = "apply"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["GIE", "EIUP", "erasure prompt", "concept erasure"]
    DESCRIPTION = (
        "Growth inhibitors (GIE, ICLR 2025; first called EIUP): every cross-attention looks for the targets beside the "
        "prompt, and what it finds of them is taken away. Nothing is trained, and no further row is evaluated. A "
        "related method, to compare Safelight with: unlike Safelight it changes harmless pictures too."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        return {
            "required": {
                "model": inputs.MODEL,
                "clip": ("CLIP", {"tooltip": "The model's own text encoder."}),
                "concepts": inputs.concepts_input(
                    "The targets, separated by commas or one per line. Each is a text of its own."
                ),
            },
            "optional": {
                "strength": inputs.strength_input(
                    MAX_STRENGTH,
                    "How often what is found of the targets is taken away: 1 once, 2 twice. At 0 the model is the one "
                    "that was given.",
                ),
            },
        }

    def apply(
        self, model: ModelPatcher, clip: CLIP, concepts: str = DEFAULT_CONCEPTS, strength: float = 1.0
    ) -> tuple[ModelPatcher]:
        check_links(model=model)
        if strength_number(strength, MAX_STRENGTH) == 0.0:
            return (model,)
        return inhibitors(model, target_texts(clip, concepts), float(strength))[:1]
