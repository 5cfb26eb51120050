"""Base classes of the nodes: samplers, guiders, model patches, and the guider and patch of a related method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, check_numbers, strength_number
from safelight.engine.guider import make_guider
from safelight.engine.ksampler import SamplingJob, sample_guided
from safelight.engine.least import Eye, sample_looking
from safelight.engine.method_setup import MethodSetup
from safelight.engine.model_patch import patch_model
from safelight.guidance.settings import GuidanceSettings
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

from . import inputs

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.samplers import CFGGuider
    from comfy.sd import CLIP


class SamplerNode:
    RETURN_TYPES = ("LATENT", "STRING", "SAFELIGHT_TRACE", "BOOLEAN")
    RETURN_NAMES = ("LATENT", "report", "trace", "passed")
    OUTPUT_TOOLTIPS = (
        "The denoised latent.",
        "What the run did, as JSON: the weight of every call, risk, gate, rows.",
        inputs.TRACE_TOOLTIP,
        "With a detector: true where it finds nothing in any picture. False without one, since nobody looked.",
    )
    FUNCTION = "sample"
    CATEGORY = "Safelight/sampling"
    SEARCH_ALIASES = ["sampler", "denoise"]
    DESCRIPTION = (
        "Two prompts steer one sampling run: the prompt as written settles the layout, then its safe counterpart takes "
        "part as strongly as the slider says. At 0, and for a prompt whose risk is below the gate, the result is the "
        'stock sampler\'s, bit for bit. Reconstructed from the abstract of "Safety Without Semantic Disruptions" '
        "(arXiv 2411.13982); the choices are ours. With a detector it looks first and steers as little as is enough. A "
        "creative control, not a moderation gate."
    )
    OPTIONAL = {
        "gate": inputs.GATE,
        "merge": inputs.MERGE,
        "merge_at": inputs.MERGE_AT,
        "economy": inputs.ECONOMY,
        "at_least": inputs.AT_LEAST,
        "hide": inputs.HIDE,
        "memory": inputs.MEMORY,
        **inputs.SOCKETS,
        "detector": inputs.DETECTOR,
        "vae": inputs.VAE,
        "words": inputs.WORDS,
    }

    @staticmethod
    def sampled(
        job: SamplingJob,
        settings: GuidanceSettings,
        eye: Eye | None,
        steps: int,
        merge: str = inputs.EVERY_STEP,
        merge_at: float = inputs.DEFAULT_MERGE_AT,
    ) -> dict[str, Any]:
        """eye: of the linked detector, None without one."""
        if eye is None:
            return sample_guided(job, settings, steps, merge, merge_at)
        return sample_looking(job, settings, eye, steps, merge)


class GuiderNode:
    RETURN_TYPES = ("GUIDER", "SAFELIGHT_TRACE")
    RETURN_NAMES = ("GUIDER", "trace")
    OUTPUT_TOOLTIPS = ("A guider for Sampler Custom Advanced.", inputs.TRACE_TOOLTIP)
    FUNCTION = "guide"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = ["guider", "guidance"]


class DetectorNode:
    RETURN_TYPES = (inputs.DETECTOR_TYPE,)
    RETURN_NAMES = ("detector",)
    OUTPUT_TOOLTIPS = ("A detector, for Safelight KSampler, Safelight Look or Safelight Detectors.",)
    FUNCTION = "make"
    CATEGORY = inputs.DETECT
    SEARCH_ALIASES = ["detector", "NSFW checker"]


class PatchNode:
    RETURN_TYPES = ("MODEL", "SAFELIGHT_TRACE")
    RETURN_NAMES = ("MODEL", "trace")
    OUTPUT_TOOLTIPS = ("The model, guided wherever a sampler uses it with a CFG guider.", inputs.TRACE_TOOLTIP)
    FUNCTION = "patch"
    CATEGORY = "Safelight/guidance"
    SEARCH_ALIASES = ["model patch", "guidance"]


class MethodNode:
    """A related method. REQUIRED: its own required inputs. SETTINGS: its optional inputs, `strength` among them.

    setup: the method for a clip, a strength above 0 and these inputs.
    """

    MAX_STRENGTH = 4.0
    STRENGTH = inputs.strength_input(
        MAX_STRENGTH,
        "How much of the method's guidance acts: 1 is the published method, more goes beyond it. At 0 the result is "
        "that of the stock sampler, bit for bit.",
    )
    CLIP_INPUT = ("CLIP", {"tooltip": "The text encoder that encoded the prompt. It reads the unsafe texts."})
    NEGATIVE = inputs.NEGATIVE
    REQUIRED: dict[str, Any] = {}
    SETTINGS: dict[str, Any]
    setup: Callable[..., MethodSetup]

    def acting(self, clip: CLIP, strength: float, settings: dict[str, Any]) -> MethodSetup | None:
        """The method; None at strength 0, where no other input is read."""
        strength = strength_number(strength, self.MAX_STRENGTH)
        return self.setup(clip, strength=strength, **settings) if strength > 0.0 else None


class MethodGuiderNode(MethodNode, GuiderNode):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "clip": cls.CLIP_INPUT,
                "positive": ("CONDITIONING", {"tooltip": "The prompt as written."}),
                "negative": cls.NEGATIVE,
                **cls.REQUIRED,
                "cfg": inputs.CFG,
            },
            "optional": cls.SETTINGS,
        }

    def guide(
        self,
        model: ModelPatcher,
        clip: CLIP,
        positive: Conditioning,
        negative: Conditioning,
        cfg: float,
        strength: float = 1.0,
        **settings: Any,
    ) -> tuple[CFGGuider, Trace]:
        check_links(model=model, positive=positive, negative=negative)
        check_numbers(cfg=cfg)
        setup = self.acting(clip, strength, settings)
        return make_guider(model, positive, negative, cfg, setup), setup.trace if setup else Trace()


class MethodPatchNode(MethodNode, PatchNode):
    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        required = {"model": inputs.MODEL, "clip": cls.CLIP_INPUT, **cls.REQUIRED}
        return {"required": required, "optional": cls.SETTINGS}

    def patch(
        self, model: ModelPatcher, clip: CLIP, strength: float = 1.0, **settings: Any
    ) -> tuple[ModelPatcher, Trace]:
        check_links(model=model)
        setup = self.acting(clip, strength, settings)
        return patch_model(model, setup), setup.trace if setup else Trace()
