"""SafelightCASGGuider: conflict-aware adaptive safety guidance, to compare Safelight with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine.method_setup import MethodSetup, noise_setup
from safelight.guidance import casg, sld

from . import inputs
from .bases import MethodGuiderNode, MethodNode

if TYPE_CHECKING:
    from comfy.sd import CLIP


class CASGMethod(MethodNode):
    DESCRIPTION = (
        "Conflict-aware adaptive safety guidance (CASG, CVPR 2026): Safe Latent Diffusion, at every step with the one "
        "category that the prompt heads for. A related method, to compare Safelight with."
    )
    SEARCH_ALIASES = ["CASG", "conflict-aware"]
    SETTINGS = {
        "categories": inputs.CATEGORIES,
        "preset": inputs.sld_preset(casg.DEFAULT_PRESET),
        "strength": MethodNode.STRENGTH,
    }

    def setup(
        self, clip: CLIP, *, strength: float, categories: str = inputs.SEVEN, preset: str = casg.DEFAULT_PRESET
    ) -> MethodSetup:
        texts = inputs.category_lines(categories)
        config = sld.read_preset(preset)
        return noise_setup(
            "Safelight CASG", lambda: casg.ConflictAware(config, len(texts), strength), clip, texts, "categories"
        )


class SafelightCASGGuider(CASGMethod, MethodGuiderNode):
    pass
