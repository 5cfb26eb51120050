"""SafelightSLDGuider: Safe Latent Diffusion, to compare Safelight with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.checks import required_text
from safelight.engine.method_setup import MethodSetup, noise_setup
from safelight.guidance import sld
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs
from .bases import MethodGuiderNode, MethodNode

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SLDMethod(MethodNode):
    DESCRIPTION = (
        "Safe Latent Diffusion (Schramowski et al., CVPR 2023): where the prompt's noise prediction heads for the "
        "concept's, it is pushed away from it. A related method, to compare Safelight with."
    )
    SEARCH_ALIASES = ["safe latent diffusion"]
    SETTINGS = {
        "concept": inputs.CONCEPT,
        "preset": inputs.sld_preset(sld.DEFAULT_PRESET),
        "strength": MethodNode.STRENGTH,
    }

    def setup(
        self, clip: CLIP, *, strength: float, concept: str = DEFAULT_CONCEPTS, preset: str = sld.DEFAULT_PRESET
    ) -> MethodSetup:
        config, text = sld.read_preset(preset), required_text("concept", concept)
        return noise_setup("Safelight SLD", lambda: sld.SafeLatentDiffusion(config, strength), clip, [text], "concept")


class SafelightSLDGuider(SLDMethod, MethodGuiderNode):
    pass
