"""SafelightLoadRedaction: a redaction from its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import strength_number
from safelight.engine import edit_files
from safelight.engine.encoder import check_clip
from safelight.engine.redact import KIND, load_redaction
from safelight.engine.redacted_clip import redacted

from . import inputs
from .load_edit import LoadsEdit
from .redact import SafelightRedact

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightLoadRedaction(LoadsEdit):
    KIND = KIND
    RETURN_TYPES = ("CLIP",)
    OUTPUT_TOOLTIPS = ("The text encoder, redacted.",)
    FUNCTION = "load"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["redaction", "erase concept", "unlearn"]
    DESCRIPTION = (
        "Applies a redaction from a file to a text encoder of the kind that it was made on. Several in a row work one "
        "after the other."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": SafelightRedact.CLIP_INPUT,
                "file": (
                    edit_files.choices(KIND),
                    {
                        "tooltip": "A redaction in models/safelight or output/safelight, from Safelight Save Edit.",
                    },
                ),
            },
            "optional": {"strength": SafelightRedact.STRENGTH},
        }

    def load(self, clip: CLIP, file: str, strength: float = 1.0) -> tuple[CLIP]:
        check_clip(clip)
        if strength_number(strength, edit_files.MAX_STRENGTH) == 0.0:
            return (clip,)
        layout, maps = load_redaction(clip, file)
        return (redacted(clip, layout, maps, strength),)
