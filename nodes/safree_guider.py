"""SafelightSAFREEGuider: SAFREE, to compare Safelight with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine.method_setup import MethodSetup, safree_setup
from safelight.engine.safree_prompt import encode_concepts, encode_safe
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.safree import VARIANTS

from . import inputs
from .bases import MethodGuiderNode, MethodNode

if TYPE_CHECKING:
    from comfy.sd import CLIP


class SAFREEMethod(MethodNode):
    DESCRIPTION = (
        "SAFREE (Yoon et al., ICLR 2025): the words that carry something unsafe are projected out of the concepts' "
        "subspace, for the first steps of the run, and the concepts are the negative prompt. A related "
        "method, to compare Safelight with."
    )
    SEARCH_ALIASES = ["SAFREE"]
    MAX_STRENGTH = 1.0
    CLIP_INPUT = ("CLIP", {"tooltip": "The text encoder that encoded the prompt."})
    NEGATIVE = (
        "CONDITIONING",
        {"tooltip": "The negative prompt. With concepts_as_negative, the list of concepts takes its text's place."},
    )
    REQUIRED = {
        "prompt": (
            "STRING",
            {
                "default": "",
                "multiline": True,
                "tooltip": "The text of the prompt, the same that `positive` was encoded from: link `prompt` of "
                "Safelight Context Encode.",
            },
        ),
    }
    SETTINGS = {
        "concepts": inputs.concepts_input(
            tooltip="What is unsafe, separated by commas; or link Safelight Concepts. The phrases span the subspace "
            "that trigger words are moved out of."
        ),
        "variant": (
            list(VARIANTS),
            {
                "default": VARIANTS[0],
                "tooltip": "Where the released code and the printed paper differ: the order of the two projections, "
                "and how many steps are guided (0 to 10 of 50, or 5 to 9).",
            },
        ),
        "concepts_as_negative": (
            "BOOLEAN",
            {
                "default": True,
                "tooltip": "SAFREE's negative prompt is the list of concepts, at every step. Off: the negative "
                "prompt stays.",
            },
        ),
        "strength": (
            "FLOAT",
            {
                **inputs.SAFETY[1],
                "default": 1.0,
                "tooltip": "The weight of the safe prompt in the steps that SAFREE guides: 1 is the published "
                "method. At 0 the result is that of the stock sampler, bit for bit, with the negative prompt that is "
                "linked.",
            },
        ),
    }

    def setup(
        self,
        clip: CLIP,
        *,
        strength: float,
        prompt: str,
        concepts: str = DEFAULT_CONCEPTS,
        variant: str = VARIANTS[0],
        concepts_as_negative: bool = True,
    ) -> MethodSetup:
        safe = encode_safe(clip, prompt, concepts, variant)
        return safree_setup(safe, encode_concepts(clip, concepts) if concepts_as_negative else None, strength)


class SafelightSAFREEGuider(SAFREEMethod, MethodGuiderNode):
    pass
