"""SafelightSafeCLIP: makes a text encoder read unsafe captions as safe ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import strength_number
from safelight.edits.edit_file import Edit
from safelight.engine import edit_files
from safelight.engine.encoder import check_clip
from safelight.engine.redacted_clip import redacted
from safelight.engine.safe_clip import OWN, TARGETS, make_safe_clip
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs
from .redact import SafelightRedact

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SafelightSafeCLIP:
    RETURN_TYPES = SafelightRedact.RETURN_TYPES
    RETURN_NAMES = SafelightRedact.RETURN_NAMES
    OUTPUT_TOOLTIPS = (
        "The text encoder, made safe: for CLIP Text Encode and every other node that takes a CLIP.",
        inputs.EDIT_TOOLTIP,
        "The learning curve: how well captions that took no part in the training are redirected and kept.",
    )
    FUNCTION = "train"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = ["Safe-CLIP", "SafeR-CLIP", "SAGE", "safe text encoder", "unlearn"]
    DESCRIPTION = (
        "Trains the text encoder to read unsafe captions as safe ones, on pairs that Safelight makes of the concepts "
        "and its own rewriter. After Safe-CLIP, with SafeR-CLIP's nearest safe caption and SAGE's terms that hold "
        "texts apart; without pictures, and as a small student beside the encoder, which stays as it is."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        redact = SafelightRedact.INPUT_TYPES()["optional"]
        return {
            "required": {
                "clip": ("CLIP", {"tooltip": "The text encoder. Other branches that use it stay as they are."}),
                "concepts": inputs.concepts_input(),
            },
            "optional": {
                "target": (
                    list(TARGETS),
                    {
                        "default": OWN,
                        "tooltip": "What an unsafe caption is read as. own twin: the same caption with harmless words. "
                        "nearest safe caption: of all safe ones that which this text encoder holds for most alike.",
                    },
                ),
                "keep": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "tooltip": "Captions that must stay as they are, one per line, ten or more. Empty: everyday "
                        "phrases that come with Safelight, look-alikes of unsafe things among them.",
                    },
                ),
                "strength": inputs.strength_input(
                    edit_files.MAX_STRENGTH,
                    "How far unsafe captions go to their safe ones: 1 all the way, more pushes beyond. 0 is the CLIP "
                    "as it was.",
                ),
                "steps": (
                    "INT",
                    {
                        **redact["steps"][1],
                        "tooltip": "Training steps at most. It stops sooner where held-out captions gain nothing.",
                    },
                ),
                "seed": inputs.training_seed(
                    "Which captions the things appear in, and the start and the order of the training."
                ),
            },
        }

    def train(
        self,
        clip: CLIP,
        concepts: str = DEFAULT_CONCEPTS,
        target: str = OWN,
        keep: str = "",
        strength: float = 1.0,
        steps: int = 300,
        seed: int = 0,
    ) -> tuple[CLIP, Edit, torch.Tensor]:
        check_clip(clip)
        strength_number(strength, edit_files.MAX_STRENGTH)
        layout, maps, edit, picture = make_safe_clip(clip, concepts, target, keep, steps, seed)
        return redacted(clip, layout, maps, strength), edit, picture
