"""SafelightModelPatch: the guidance for any KSampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links
from safelight.engine.method_setup import dual_setup
from safelight.engine.model_patch import patch_model
from safelight.engine.studio import check_unseen, logger, read_settings
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

from . import inputs
from .bases import PatchNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class SafelightModelPatch(PatchNode):
    DESCRIPTION = (
        "Makes any KSampler take the safe prompt into account: its own positive prompt is the prompt as written. At "
        "safety 0, and for a prompt whose risk is below the gate, the model comes back unchanged. For guiders of other "
        "kinds (dual CFG, perpendicular negative) there is an error, since their terms would be lost. It has no "
        "detector: to look first, take Safelight KSampler or Safelight Sampler Custom, or link Safelight Look behind "
        "VAE Decode. A creative control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"model": inputs.MODEL, "safe": inputs.SAFE, "safety": inputs.SAFETY},
            "optional": inputs.GUIDANCE,
        }

    def patch(
        self,
        model: ModelPatcher,
        safe: Conditioning,
        safety: float,
        schedule: WeightSchedule | None = None,
        risk: float = 1.0,
        gate: float = inputs.DEFAULT_GATE,
        mask: torch.Tensor | None = None,
        selective: Selection | None = None,
        economy: str = inputs.OFF,
    ) -> tuple[ModelPatcher, Trace]:
        check_links(model=model)
        check_unseen()
        settings = read_settings(safety, schedule, risk, gate, mask, selective, economy)
        setup = dual_setup(settings, safe, on_end=logger(settings, type(self).__name__))
        return patch_model(model, setup), setup.trace if setup else Trace()
