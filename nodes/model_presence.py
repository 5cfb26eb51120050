"""SafelightModelPresence: a detector by the model's own predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, check_numbers, check_texts
from safelight.detect.detector import Detector
from safelight.detect.presence import DEFAULT_FALSE_ALARMS
from safelight.engine.presence_detector import presence_detector

from . import inputs
from .bases import DetectorNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP


VISIBLE = "nudity, blood, a weapon, drugs"


class SafelightModelPresence(DetectorNode):
    OUTPUT_TOOLTIPS = ("A detector, for Safelight KSampler or Safelight Detectors.",)
    DESCRIPTION = (
        "A detector without a model of its own, for Safelight KSampler: while the picture is made, the model itself is "
        "asked how far its predictions go in the direction of each concept. For any model and any concept that its "
        "text encoder knows; coarser than a detector that looks at the picture. The first time it takes as long as "
        "some twenty pictures, to learn from harmless prompts what is usual; that is kept on disk."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model that the sampler uses."}),
                "clip": ("CLIP", {"tooltip": "The text encoder that encoded the prompt. It reads the concepts."}),
                "latent_image": (
                    "LATENT",
                    {"tooltip": "The sampler's latent. Its size alone counts: the model is calibrated at it."},
                ),
                "cfg": (*inputs.CFG[:1], {**inputs.CFG[1], "tooltip": "The same as in the sampler."}),
                "concepts": (
                    "STRING",
                    {
                        "default": VISIBLE,
                        "multiline": True,
                        "tooltip": "What to look for, separated by commas. Each is a text of its own and one more row "
                        "of the model at each of two looks, so a few that can be seen are best.",
                    },
                ),
                "false_alarms": (
                    "FLOAT",
                    {
                        "default": DEFAULT_FALSE_ALARMS,
                        "min": 0.05,
                        "max": 0.5,
                        "step": 0.01,
                        "tooltip": "How many looks at harmless pictures may find something: .1 is one in ten. "
                        "More finds more of the unsafe ones.",
                    },
                ),
            },
        }

    def make(
        self,
        model: ModelPatcher,
        clip: CLIP,
        latent_image: dict[str, Any],
        cfg: float,
        concepts: str = VISIBLE,
        false_alarms: float = DEFAULT_FALSE_ALARMS,
    ) -> tuple[Detector]:
        check_links(model=model, clip=clip, latent_image=latent_image)
        check_texts(concepts=concepts)
        check_numbers(cfg=cfg, false_alarms=false_alarms)
        return (presence_detector(model, clip, latent_image, cfg, concepts, false_alarms),)
