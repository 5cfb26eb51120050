"""SafelightErase: concepts out of a model in closed form (UCE, RECE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, strength_number
from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.edit_texts import TOKENS
from safelight.engine.erase import apply_edit, make_edit
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightErase:
    RETURN_TYPES = ("MODEL", edit_files.EDIT_TYPE)
    RETURN_NAMES = ("MODEL", "edit")
    OUTPUT_TOOLTIPS = (
        "The model without the concepts. The one that came in, and its other branches, stay as they are.",
        inputs.EDIT_TOOLTIP,
    )
    FUNCTION = "erase"
    STRENGTH = inputs.strength_input(
        edit_files.MAX_STRENGTH,
        "How much of the edit acts: 1 is the published method. At 0 the model is the one that came in.",
    )
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["erase", "unlearn", "UCE", "RECE", "concept erasure", "concept editing"]
    DESCRIPTION = (
        "Erases concepts from a model in seconds, without training: the weights that read the text are solved anew, so "
        "that the concepts' words read as something else (Unified Concept Editing, and RECE's rounds on top). A "
        "related method, to compare Safelight with: unlike Safelight it changes harmless pictures too."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model to erase from, with its LoRAs, if any, already applied."}),
                "clip": ("CLIP", {"tooltip": "The model's own text encoder."}),
                "erase": inputs.concepts_input("What to erase, separated by commas or one per line."),
            },
            "optional": {
                "instead": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "What the concepts read as from now on. Empty: as no text at all.",
                    },
                ),
                "preserve": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Texts that must read as before, one per line. Empty: Safelight's own harmless "
                        "phrases.",
                    },
                ),
                "tokens": (
                    list(TOKENS),
                    {
                        "default": TOKENS[0],
                        "tooltip": "last: each concept's last word, as UCE does. all: all tokens of its text, as RECE "
                        "does: erases more, and harms more.",
                    },
                ),
                "epochs": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 10,
                        "tooltip": "RECE's rounds: how often to erase what could still call the concepts up. 0 is UCE "
                        "alone.",
                    },
                ),
                "strength": cls.STRENGTH,
                "preserve_weight": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 100.0,
                        "step": 0.01,
                        "advanced": True,
                        "tooltip": "How much all that is preserved weighs beside all that is erased.",
                    },
                ),
                "lamb": (
                    "FLOAT",
                    {
                        "default": 0.001,
                        "min": 0.00001,
                        "max": 10.0,
                        "step": 0.00001,
                        "round": 0.00001,
                        "advanced": True,
                        "tooltip": "How firmly everything else is held where it is, beside the size of the erased "
                        "words' states. More erases less.",
                    },
                ),
            },
        }

    def erase(
        self,
        model: ModelPatcher,
        clip: CLIP,
        erase: str = DEFAULT_CONCEPTS,
        instead: str = "",
        preserve: str = "",
        tokens: str = TOKENS[0],
        epochs: int = 0,
        strength: float = 1.0,
        preserve_weight: float = 1.0,
        lamb: float = 0.001,
    ) -> tuple[ModelPatcher, Edit]:
        check_links(model=model)
        strength_number(strength, edit_files.MAX_STRENGTH)
        edit = make_edit(model, clip, erase, instead, preserve, tokens, epochs, preserve_weight, lamb)
        return apply_edit(model, edit, strength), edit
