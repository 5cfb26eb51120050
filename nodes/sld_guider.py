"""Safe Latent Diffusion, CASG and TraSCE, each as a guider and as a model patch, to compare Safelight with.

They know no safe prompt: they take what their unsafe texts say away from the written prompt's noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safelight.guidance import casg, sld, trasce
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.guidance.noise_guidance import NoiseGuidance
from safelight.views.trace import Trace
from safelight.engine import host
from . import inputs
from .forms import GuiderNode, PatchNode
from safelight.engine.noise_run import NoiseSteering
from safelight.engine.guider import guider_of, patched

CLIP = ("CLIP", {"tooltip": "The text encoder that encoded the prompt. It reads the unsafe texts."})
CONCEPT = ("STRING", {"default": DEFAULT_CONCEPTS, "multiline": True,
                      "tooltip": "What is unsafe, as one text."})  # fmt: skip
CATEGORIES = ("STRING", {
    "default": "\n".join(casg.CATEGORIES), "multiline": True,
    "tooltip": "What is unsafe, one category a line. Each line is one more row of model evaluation a step.",
})  # fmt: skip
MAX_STRENGTH = 4.0
STRENGTH = inputs.strength_input(
    MAX_STRENGTH,
    "How much of the method's guidance acts: 1 is the published method, more goes beyond it. At 0 the result is that "
    "of the stock sampler, bit for bit.",
)


def _presets(default: str) -> tuple[list[str], dict[str, Any]]:
    return (list(sld.PRESETS), {"default": default, "tooltip": "The published settings of Safe Latent Diffusion, from "
                                                               "weak to max."})  # fmt: skip


class _SafeLatentDiffusion:
    NAME = "Safelight SLD"
    ABOUT = (
        "Safe Latent Diffusion (Schramowski et al., CVPR 2023): where the prompt's noise prediction heads for the "
        "concept's, it is pushed away from it. A neighbour of Safelight, to compare with."
    )
    SETTINGS = {"concept": CONCEPT, "preset": _presets(sld.DEFAULT_PRESET), "strength": STRENGTH}
    SEARCH_ALIASES = [*inputs.SEARCH_ALIASES, "safe latent diffusion"]

    def steering(self, clip: Any, concept: str = DEFAULT_CONCEPTS, preset: str = sld.DEFAULT_PRESET,
                 strength: float = 1.0) -> NoiseSteering:  # fmt: skip
        return NoiseSteering(self.NAME, _with_preset(sld.SafeLatentDiffusion, preset), clip,
                             [_text("concept", concept)], "concept", strength, Trace())  # fmt: skip


class _ConflictAware:
    NAME = "Safelight CASG"
    ABOUT = (
        "Conflict-aware adaptive safety guidance (CASG, CVPR 2026): Safe Latent Diffusion, at every step with the one "
        "category that the prompt heads for. A neighbour of Safelight, to compare with."
    )
    SETTINGS = {"categories": CATEGORIES, "preset": _presets(casg.DEFAULT_PRESET), "strength": STRENGTH}
    SEARCH_ALIASES = [*inputs.SEARCH_ALIASES, "CASG", "conflict-aware"]

    def steering(self, clip: Any, categories: str = CATEGORIES[1]["default"], preset: str = casg.DEFAULT_PRESET,
                 strength: float = 1.0) -> NoiseSteering:  # fmt: skip
        texts = [line.strip() for line in _text("categories", categories).splitlines() if line.strip()]
        return NoiseSteering(self.NAME, _with_preset(casg.ConflictAware, preset), clip, texts, "categories", strength,
                             Trace())  # fmt: skip


class _ModifiedNegative:
    NAME = "Safelight TraSCE"
    ABOUT = (
        "The modified negative guidance of TraSCE (arXiv 2412.07658): a negative prompt that can't turn into what it "
        "names. A neighbour of Safelight, to compare with."
    )
    SETTINGS = {"concept": CONCEPT, "strength": STRENGTH}
    SEARCH_ALIASES = [*inputs.SEARCH_ALIASES, "TraSCE", "negative prompt"]

    def steering(self, clip: Any, concept: str = DEFAULT_CONCEPTS, strength: float = 1.0) -> NoiseSteering:
        return NoiseSteering(self.NAME, trasce.ModifiedNegative, clip, [_text("concept", concept)], "concept", strength,
                             Trace())  # fmt: skip


def _text(name: str, text: Any) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{name}: it is empty, so nothing could be guided away from; say what is unsafe, or set "
                         "strength to 0.")  # fmt: skip
    return text.strip()


def _with_preset(method: Callable[[sld.Config], NoiseGuidance], preset: str) -> Callable[[], NoiseGuidance]:
    if preset not in sld.PRESETS:
        raise ValueError(f"preset: {preset!r} is unknown; choose one of {', '.join(sld.PRESETS)}.")
    return lambda: method(sld.PRESETS[preset])


def _acting(node: Any, clip: Any, strength: Any, settings: dict[str, Any]) -> NoiseSteering | None:
    """What the node's inputs make of its method; None at strength 0, where nothing else is looked at."""
    strength = inputs.read_strength(strength, MAX_STRENGTH)
    return node.steering(clip, strength=strength, **settings) if strength > 0.0 else None


class _Guider(GuiderNode):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "clip": CLIP,
                "positive": ("CONDITIONING", {"tooltip": "The prompt as written."}),
                "negative": inputs.NEGATIVE,
                "cfg": inputs.CFG,
            },
            "optional": cls.SETTINGS,
        }

    def guide(self, model: Any, clip: Any, positive: Any, negative: Any, cfg: float, strength: float = 1.0,
              **settings: Any) -> tuple:  # fmt: skip
        steering = _acting(self, clip, strength, settings)
        return guider_of(model, positive, negative, cfg, steering), steering.trace if steering else Trace()


class _Patch(PatchNode):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"model": inputs.MODEL, "clip": CLIP}, "optional": cls.SETTINGS}

    def patch(self, model: Any, clip: Any, strength: float = 1.0, **settings: Any) -> tuple:
        steering = _acting(self, clip, strength, settings)
        return patched(model, steering), steering.trace if steering else Trace()


class SafelightSLDGuider(_SafeLatentDiffusion, _Guider):
    DESCRIPTION = _SafeLatentDiffusion.ABOUT


class SafelightSLDPatch(_SafeLatentDiffusion, _Patch):
    DESCRIPTION = _SafeLatentDiffusion.ABOUT + " For any KSampler."


class SafelightCASGGuider(_ConflictAware, _Guider):
    DESCRIPTION = _ConflictAware.ABOUT


class SafelightCASGPatch(_ConflictAware, _Patch):
    DESCRIPTION = _ConflictAware.ABOUT + " For any KSampler."


class SafelightTraSCEGuider(_ModifiedNegative, _Guider):
    DESCRIPTION = _ModifiedNegative.ABOUT


class SafelightTraSCEPatch(_ModifiedNegative, _Patch):
    DESCRIPTION = _ModifiedNegative.ABOUT + " For any KSampler."


_METHODS = {
    "SLD": (SafelightSLDGuider, SafelightSLDPatch),
    "CASG": (SafelightCASGGuider, SafelightCASGPatch),
    "TraSCE": (SafelightTraSCEGuider, SafelightTraSCEPatch),
}
NODE_CLASS_MAPPINGS: dict[str, type] = {f"Safelight{name}Guider": guider for name, (guider, _) in _METHODS.items()}
NODE_DISPLAY_NAME_MAPPINGS = {f"Safelight{name}Guider": f"Safelight {name} Guider" for name in _METHODS}
if host.HAS_WRAPPERS:
    NODE_CLASS_MAPPINGS |= {f"Safelight{name}Patch": patch for name, (_, patch) in _METHODS.items()}
    NODE_DISPLAY_NAME_MAPPINGS |= {f"Safelight{name}Patch": f"Safelight {name} Model Patch" for name in _METHODS}
