"""SafelightEditCheck: what an edit breaks among harmless texts, without a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.engine.edit_check import check_edit

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


class SafelightEditCheck:
    RETURN_TYPES = ("STRING", "FLOAT", "FLOAT")
    RETURN_NAMES = ("report", "spread_ratio", "neighbour_overlap")
    OUTPUT_TOOLTIPS = (
        "Both figures in words, and the texts whose neighbours changed most.",
        "How far apart the texts are after the edit, as a share of before: 1 is unchanged, less is drawn together.",
        "How many of each text's nearest neighbours are the same ones after the edit: 1 is all of them.",
    )
    OUTPUT_NODE = True
    FUNCTION = "check"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["SAGE", "spread ratio", "neighbour overlap", "collateral damage"]
    DESCRIPTION = (
        "Measures what an edit of a text encoder or of a model does to harmless texts, without making a picture: "
        "whether they are drawn together, and whether each keeps its nearest neighbours. After SAGE; for Safe-CLIP, "
        "Redact, Erase, AdaVD, Safe Adapter and any LoRA."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"clip": ("CLIP", {"tooltip": "The text encoder before the edit."})},
            "optional": {
                "texts": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Harmless texts, one per line, twenty or more, none of which the edit was made to "
                        "keep. Empty: everyday things that come with Safelight.",
                    },
                ),
                "edited_clip": ("CLIP", {"tooltip": "The text encoder after the edit, such as Safelight Redact's."}),
                "model": (
                    "MODEL",
                    {"tooltip": "The model before the edit. With it texts are compared by what the model reads."},
                ),
                "edited_model": ("MODEL", {"tooltip": "The model after the edit, such as Safelight Erase's."}),
            },
        }

    def check(
        self,
        clip: CLIP,
        texts: str = "",
        edited_clip: CLIP | None = None,
        model: ModelPatcher | None = None,
        edited_model: ModelPatcher | None = None,
    ) -> dict[str, Any]:
        check = check_edit(clip, texts, edited_clip, model, edited_model)
        report = check.report()
        return {"ui": {"safelight_note": [report]}, "result": (report, check.spread_ratio, check.neighbour_overlap)}
