"""SafelightLoadConceptVector: a concept vector from its file."""

from __future__ import annotations

from typing import Any

from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.concept_vectors import KIND, load_vector

from . import inputs
from .load_edit import LoadsEdit


class SafelightLoadConceptVector(LoadsEdit):
    KIND = KIND

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "file": (
                    edit_files.choices(KIND),
                    {
                        "tooltip": "A vector saved with Safelight Save Edit, in output/safelight or models/safelight.",
                    },
                ),
            },
        }

    RETURN_TYPES = (edit_files.EDIT_TYPE,)
    RETURN_NAMES = ("vector",)
    OUTPUT_TOOLTIPS = ("For `vector` of Safelight Context Encode. It fits the text encoder that it was made with.",)
    FUNCTION = "load"
    CATEGORY = inputs.EDITS
    DESCRIPTION = (
        "Loads a concept vector that was saved with Safelight Save Edit, for the vector input of Safelight Context "
        "Encode. Files are safetensors only."
    )
    SEARCH_ALIASES = ["Ring-A-Bell", "concept vector", "steering vector", "direction"]

    def load(self, file: str) -> tuple[Edit]:
        return (load_vector(file),)
