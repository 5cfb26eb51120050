"""SafelightTraSCEGuider: the modified negative guidance of TraSCE, to compare Safelight with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.checks import required_text
from safelight.engine.method_setup import MethodSetup, noise_setup
from safelight.guidance import trasce
from safelight.text.concepts import DEFAULT_CONCEPTS

from . import inputs
from .bases import MethodGuiderNode, MethodNode

if TYPE_CHECKING:
    from comfy.sd import CLIP


class TraSCEMethod(MethodNode):
    DESCRIPTION = (
        "The modified negative guidance of TraSCE (arXiv 2412.07658): a negative prompt that can't turn into what it "
        "names. A related method, to compare Safelight with."
    )
    SEARCH_ALIASES = ["TraSCE", "negative prompt"]
    SETTINGS = {"concept": inputs.CONCEPT, "strength": MethodNode.STRENGTH}

    def setup(self, clip: CLIP, *, strength: float, concept: str = DEFAULT_CONCEPTS) -> MethodSetup:
        text = required_text("concept", concept)
        return noise_setup("Safelight TraSCE", lambda: trasce.ModifiedNegative(strength), clip, [text], "concept")


class SafelightTraSCEGuider(TraSCEMethod, MethodGuiderNode):
    pass
