"""SafelightRedact: makes a text encoder read certain things as something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import strength_number
from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.encoder import check_clip
from safelight.engine.redact import FORMS, NETWORK, make_redaction
from safelight.engine.redacted_clip import redacted

from . import inputs

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightRedact:
    RETURN_TYPES = ("CLIP", edit_files.EDIT_TYPE, "IMAGE")
    RETURN_NAMES = ("CLIP", "edit", "fit")
    OUTPUT_TOOLTIPS = (
        "The text encoder, redacted: for CLIP Text Encode and every other node that takes a CLIP.",
        inputs.EDIT_TOOLTIP,
        "How well texts that took no part in the fit are redacted and kept; for network the learning curve.",
    )
    FUNCTION = "redact"
    CLIP_INPUT = ("CLIP", {"tooltip": "The text encoder to redact. Other branches that use it stay as they are."})
    STRENGTH = inputs.strength_input(
        edit_files.MAX_STRENGTH,
        "How far redacted texts go to their reference: 1 all the way, more pushes beyond. 0 is the CLIP as it was.",
    )
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["redaction", "distil", "erase concept", "unlearn"]
    DESCRIPTION = (
        "Teaches the text encoder to read certain things as something else, and every other text as before. The model "
        'that draws stays as it is. After "Data Redaction from Conditional Generative Models"; how tokens answer to '
        "each other, the loss and the student are our choices."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip": cls.CLIP_INPUT,
                "redact": (
                    "STRING",
                    {
                        "default": "a weapon",
                        "multiline": True,
                        "tooltip": "What is to be read as something else: a thing or a whole prompt, one per line.",
                    },
                ),
                "reference": (
                    "STRING",
                    {
                        "default": "a flower",
                        "multiline": True,
                        "tooltip": "What to read instead: one line for all, or as many lines as redact has. An empty "
                        "line: the prompt without the thing.",
                    },
                ),
            },
            "optional": {
                "keep": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Texts that must stay as they are, one per line, ten or more. Empty: everyday "
                        "phrases that come with Safelight.",
                    },
                ),
                "form": (
                    list(FORMS),
                    {
                        "default": NETWORK,
                        "tooltip": "ridge: a linear map, solved in seconds. network: a small network, trained in a "
                        "minute or so.",
                    },
                ),
                "strength": cls.STRENGTH,
                "steps": (
                    "INT",
                    {
                        "default": 300,
                        "min": 20,
                        "max": 20000,
                        "step": 20,
                        "tooltip": "For network: training steps at most. It stops sooner where held-out texts gain "
                        "nothing.",
                    },
                ),
                "seed": inputs.training_seed(
                    "Which sentences the things appear in, and for network its start and its order of texts."
                ),
            },
        }

    def redact(
        self,
        clip: CLIP,
        redact: str,
        reference: str,
        keep: str = "",
        form: str = NETWORK,
        strength: float = 1.0,
        steps: int = 300,
        seed: int = 0,
    ) -> tuple[CLIP, Edit, torch.Tensor]:
        check_clip(clip)
        strength_number(strength, edit_files.MAX_STRENGTH)
        layout, maps, edit, picture = make_redaction(clip, redact, reference, keep, form, steps, seed)
        return redacted(clip, layout, maps, strength), edit, picture
