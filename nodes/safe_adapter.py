"""SafelightSafeAdapter: a trained adapter on a model's cross-attentions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, strength_number
from safelight.engine import edit_files
from safelight.engine.adapted_model import KIND, adapted

from . import inputs
from .load_edit import LoadsEdit

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class SafelightSafeAdapter(LoadsEdit):
    KIND = KIND
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model with the adapter; the one that was given stays as it is.",)
    FUNCTION = "apply"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["ForceForget", "ShieldDiff", "concept erasure", "adapter"]
    DESCRIPTION = (
        "Puts a trained Safe Adapter on a model, after ForceForget (arXiv 2606.14351): in every cross-attention the "
        "last tokens of the text get key and value projections of their own, which were trained to leave unsafe "
        "things out. `python -m demo.adapter train` trains one for the demo model."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "file": (
                    edit_files.choices(KIND),
                    {
                        "tooltip": "A Safe Adapter in models/safelight or output/safelight, trained for this model.",
                    },
                ),
                "strength": inputs.strength_input(
                    edit_files.MAX_STRENGTH,
                    "How much of the adapter acts: 1 as trained, more goes beyond it. At 0 the model is the one that "
                    "was given.",
                ),
            },
        }

    def apply(self, model: ModelPatcher, file: str, strength: float = 1.0) -> tuple[ModelPatcher]:
        check_links(model=model)
        if strength_number(strength, edit_files.MAX_STRENGTH) == 0.0:
            return (model,)
        return (adapted(model, edit_files.load(file, KIND), file, float(strength)),)
