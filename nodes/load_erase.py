"""SafelightLoadErase: an erasing edit from its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, strength_number
from safelight.engine import edit_files
from safelight.engine.erase import KIND, apply_edit

from . import inputs
from .erase import SafelightErase
from .load_edit import LoadsEdit

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class SafelightLoadErase(LoadsEdit):
    KIND = KIND
    RETURN_TYPES = ("MODEL",)
    OUTPUT_TOOLTIPS = ("The model without what the file erases.",)
    FUNCTION = "load"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = [*SafelightErase.SEARCH_ALIASES, "load erase"]
    DESCRIPTION = (
        "Applies an edit that Safelight Erase made and Safelight Save Edit saved. It fits every model of the same "
        "family that was made for the same text encoder."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model to erase from, with its LoRAs, if any, already applied."}),
                "file": (edit_files.choices(KIND), {"tooltip": "From output/safelight or models/safelight."}),
                "strength": SafelightErase.STRENGTH,
            },
        }

    def load(self, model: ModelPatcher, file: str, strength: float = 1.0) -> tuple[ModelPatcher]:
        check_links(model=model)
        if strength_number(strength, edit_files.MAX_STRENGTH) == 0.0:
            return (model,)
        return (apply_edit(model, edit_files.load(file, KIND), strength, file),)
