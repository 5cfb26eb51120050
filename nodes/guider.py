"""SafelightGuider: the guidance for custom sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links, check_numbers
from safelight.engine.guider import make_guider
from safelight.engine.method_setup import dual_setup
from safelight.engine.studio import check_unseen, logger, read_settings
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

from . import inputs
from .bases import GuiderNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider


class SafelightGuider(GuiderNode):
    DESCRIPTION = (
        "The guidance of the Safelight KSampler as a guider for custom sampling. At safety 0, and for a prompt whose "
        'risk is below the gate, it is the stock CFG guider. With the axis "steps", progress is that of the noise '
        "schedule that the sampler gets. It has no detector: to look first, take Safelight Sampler Custom. A creative "
        "control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "cfg": inputs.CFG,
                "safety": inputs.SAFETY,
            },
            "optional": inputs.GUIDANCE,
        }

    def guide(
        self,
        model: ModelPatcher,
        positive: Conditioning,
        safe: Conditioning,
        negative: Conditioning,
        cfg: float,
        safety: float,
        schedule: WeightSchedule | None = None,
        risk: float = 1.0,
        gate: float = inputs.DEFAULT_GATE,
        mask: torch.Tensor | None = None,
        selective: Selection | None = None,
        economy: str = inputs.OFF,
    ) -> tuple[CFGGuider, Trace]:
        check_links(model=model, positive=positive, negative=negative)
        check_numbers(cfg=cfg)
        check_unseen()
        settings = read_settings(safety, schedule, risk, gate, mask, selective, economy)
        setup = dual_setup(settings, safe, on_end=logger(settings, type(self).__name__))
        return make_guider(model, positive, negative, cfg, setup), setup.trace if setup else Trace()
