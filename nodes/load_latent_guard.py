"""SafelightLoadLatentGuard: a guard of prompts from its file."""

from __future__ import annotations

from typing import Any

from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.latent_guard import KIND, load_guard

from . import inputs
from .load_edit import LoadsEdit


class SafelightLoadLatentGuard(LoadsEdit):
    KIND = KIND

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "file": (
                    edit_files.choices(KIND),
                    {"tooltip": "A guard saved with Safelight Save Edit, in output/safelight or models/safelight."},
                ),
            },
        }

    RETURN_TYPES = (edit_files.EDIT_TYPE,)
    RETURN_NAMES = ("guard",)
    OUTPUT_TOOLTIPS = ("For Safelight Latent Guard Risk. It fits the text encoder that it was trained on.",)
    FUNCTION = "load"
    CATEGORY = inputs.DETECT
    DESCRIPTION = (
        "Loads a guard of prompts that was saved with Safelight Save Edit, for Safelight Latent Guard Risk. Files are "
        "safetensors only."
    )
    SEARCH_ALIASES = ["latent guard", "risk", "gate", "prompt filter"]

    def load(self, file: str) -> tuple[Edit]:
        return (load_guard(file),)
