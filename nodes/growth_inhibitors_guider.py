"""SafelightGrowthInhibitorsGuider: growth inhibitors with a plain picture beside the one that loses the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine.edit_files import MAX_STRENGTH
from safelight.engine.guider import make_guider
from safelight.engine.inhibited_attention import target_texts
from safelight.engine.two_streams import TwoStreamsGuider
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.conditioning import Conditioning

from . import inputs
from .bases import RelatedGuiderNode
from .growth_inhibitors import SafelightGrowthInhibitors

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider
    from comfy.sd import CLIP

OF_PATCH = SafelightGrowthInhibitors.INPUT_TYPES()


class SafelightGrowthInhibitorsGuider(RelatedGuiderNode):
    RETURN_TYPES = ("GUIDER",)
    RETURN_NAMES = ("GUIDER",)
    OUTPUT_TOOLTIPS = ("A guider for Sampler Custom Advanced.",)
    SEARCH_ALIASES = SafelightGrowthInhibitors.SEARCH_ALIASES
    DESCRIPTION = (
        "Growth inhibitors (GIE, ICLR 2025; first called EIUP) with the paper's two streams: the plain picture runs "
        "beside the one that loses the targets, and lends it the places of the prompt's words. It keeps more of the "
        "layout than Safelight Growth Inhibitors and costs 1.8 times the rows. A related method, to compare Safelight "
        "with."
    )
    MAX_STRENGTH = MAX_STRENGTH
    CLIP_INPUT = OF_PATCH["required"]["clip"]
    REQUIRED = {"concepts": OF_PATCH["required"]["concepts"]}
    SETTINGS = {
        "strength": inputs.strength_input(
            MAX_STRENGTH,
            "How often what is found of the targets is taken away: 1 once, 2 twice. At 0 the result is that of the "
            "stock sampler, bit for bit.",
        ),
    }

    def guide(
        self,
        model: ModelPatcher,
        clip: CLIP,
        positive: Conditioning,
        negative: Conditioning,
        cfg: float,
        concepts: str = DEFAULT_CONCEPTS,
        strength: float = 1.0,
    ) -> tuple[CFGGuider]:
        self.check(model, positive, negative, cfg)
        strength = self.allowed(strength)
        if strength == 0.0:
            return (make_guider(model, positive, negative, cfg, None),)
        guider = TwoStreamsGuider(model, target_texts(clip, concepts), strength)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        return (guider,)
