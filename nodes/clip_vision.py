"""SafelightCLIPVision: a detector by CLIP, zero-shot, with the artist's own concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, check_numbers, check_texts
from safelight.detect.detector import Detector
from safelight.engine.detectors import ClipVisionDetector

from . import inputs
from .bases import DetectorNode

if TYPE_CHECKING:
    from comfy.clip_vision import ClipVisionModel
    from comfy.sd import CLIP


VISIBLE = "nudity, people having sex, blood, gore, a dead body, a wound, people fighting, a gun, drugs, a noose"


class SafelightCLIPVision(DetectorNode):
    DESCRIPTION = (
        "A detector for Safelight KSampler and Safelight Look: a CLIP Vision model says whether a picture is nearer "
        "to one of the concepts or to harmless words. For any concept, and for drawings too; it can't say where, and "
        "is coarser than a model that was trained for one thing."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "clip_vision": ("CLIP_VISION", {"tooltip": "From Load CLIP Vision."}),
                "clip": (
                    "CLIP",
                    {
                        "tooltip": "The text encoder that was trained with the CLIP Vision model: clip_l with its "
                        "projection for a ViT-L, SDXL's for a bigG. Another one is an error."
                    },
                ),
                "concepts": (
                    "STRING",
                    {
                        "default": VISIBLE,
                        "multiline": True,
                        "tooltip": "What to look for, separated by commas; or link Safelight Concepts. Things that can "
                        "be seen work best.",
                    },
                ),
                "threshold": inputs.threshold_input(
                    0.5,
                    0.01,
                    "How sure CLIP has to be. At .5 a picture is found where a concept is as near as the nearest "
                    "harmless text. Lower finds more.",
                ),
            },
        }

    def make(
        self, clip_vision: ClipVisionModel, clip: CLIP, concepts: str = VISIBLE, threshold: float = 0.5
    ) -> tuple[Detector]:
        check_links(clip_vision=clip_vision, clip=clip)
        check_texts(concepts=concepts)
        check_numbers(threshold=threshold)
        return (ClipVisionDetector(clip_vision, clip, concepts, threshold),)
