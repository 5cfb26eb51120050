"""SafelightCRGGuider: concept removal guidance, to compare Safelight with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine.method_setup import MethodSetup, noise_setup
from safelight.guidance import crg

from . import inputs
from .bases import MethodGuiderNode, MethodNode

if TYPE_CHECKING:
    from comfy.sd import CLIP


class CRGMethod(MethodNode):
    DESCRIPTION = (
        "Concept removal guidance, after CRG (ICML 2026): what the prompt's prediction has of a concept's direction "
        "beyond a share is taken out of it, twice. A picture that heads for no concept is left alone. A related "
        "method, to compare Safelight with."
    )
    SEARCH_ALIASES = ["CRG", "concept removal"]
    SETTINGS = {
        "categories": inputs.CATEGORIES,
        "share": (
            "FLOAT",
            {
                "default": crg.HALF,
                "min": 0.0,
                "max": 1.0,
                "step": 0.05,
                "tooltip": "How far the prompt has to go in a concept's direction for it to count as present: 1 is as "
                "far as the concept's own text. The paper has 0.5; lower takes more away.",
            },
        ),
        "strength": MethodNode.STRENGTH,
        "warm_up": (
            "FLOAT",
            {
                "default": crg.WARM_UP,
                "min": 0.0,
                "max": 1.0,
                "step": 0.05,
                "advanced": True,
                "tooltip": "The first part of the run, which is left alone: there it is chance how far one text goes "
                "in another's direction. The paper has none.",
            },
        ),
    }

    def setup(
        self,
        clip: CLIP,
        *,
        strength: float,
        categories: str = inputs.SEVEN,
        share: float = crg.HALF,
        warm_up: float = crg.WARM_UP,
    ) -> MethodSetup:
        texts = inputs.category_lines(categories)

        def make() -> crg.ConceptRemoval:
            return crg.ConceptRemoval(share, warm_up, len(texts), strength)

        make()  # for its error
        return noise_setup("Safelight CRG", make, clip, texts, "categories")


class SafelightCRGGuider(CRGMethod, MethodGuiderNode):
    pass
