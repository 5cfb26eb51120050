"""Base classes of the nodes: samplers, guiders, model patches, and the guider and patch of a related method."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from safelight.checks import check_links, check_numbers, shortened, strength_number
from safelight.detect.detector import Detector
from safelight.engine import studio
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


class ServedNode:
    """A node that does what the server's owner asks (safelight/engine/studio.py), anew where that has changed."""

    @classmethod
    def IS_CHANGED(cls, **_: object) -> str:
        return studio.version()


class SamplingNode(ServedNode):
    """A node that runs a sampler."""

    def sampled(
        self,
        job: SamplingJob,
        settings: GuidanceSettings,
        eye: Eye | None,
        steps: int,
        merge: str = inputs.EVERY_STEP,
        merge_at: float = inputs.DEFAULT_MERGE_AT,
    ) -> dict[str, Any]:
        """eye: of the linked detector or the server's, None without one."""
        studio.check_merge(merge, settings)
        if eye is None:
            outcome = sample_guided(job, settings, steps, merge, merge_at)
        else:
            with studio.explained():
                outcome = sample_looking(job, settings, eye, steps, merge)
        latent, report, *_ = outcome["result"]
        studio.finish(report, latent["samples"], type(self).__name__, job.noise.seed)
        return outcome


class SamplerNode(SamplingNode):
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


class GuiderNode(ServedNode):
    RETURN_TYPES: tuple[str, ...] = ("GUIDER", "SAFELIGHT_TRACE")
    RETURN_NAMES: tuple[str, ...] = ("GUIDER", "trace")
    OUTPUT_TOOLTIPS: tuple[str, ...] = ("A guider for Sampler Custom Advanced.", inputs.TRACE_TOOLTIP)
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
    INPUT_TYPES: Callable[[], dict[str, Any]]
    make: Callable[..., tuple[Detector]]

    def __init_subclass__(cls) -> None:
        if all(inputs.is_widget(declared) for declared in cls.INPUT_TYPES()["required"].values()):
            studio.detector_makers[cls.__name__] = cls.of_widgets

    @classmethod
    def of_widgets(cls, **given: Any) -> Detector:
        """The detector with these values of its widgets, the others at their defaults. Raises ValueError, naming the
        input, for one that is no such widget, or of another kind."""
        declared = cls.INPUT_TYPES()
        widgets = {**declared["required"], **declared.get("optional", {})}
        values = {name: one[1]["default"] for name, one in widgets.items() if inputs.is_widget(one)}
        for name, value in given.items():
            if name not in values:
                raise ValueError(f"{name}: unknown input of {cls.__name__}. Use {', '.join(values)}.")
            kind = (int, float) if isinstance(values[name], float) else type(values[name])
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise ValueError(f"{name}: expected a value such as {values[name]!r}, got {shortened(value)}.")
        return cls().make(**{**values, **given})[0]


class PatchNode(ServedNode):
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

    def allowed(self, strength: float) -> float:
        """The strength. Raises ValueError for a wrong one, and where the server's owner allows no related method."""
        studio.check_related()
        return strength_number(strength, self.MAX_STRENGTH)

    def acting(self, clip: CLIP, strength: float, settings: dict[str, Any]) -> MethodSetup | None:
        """The method; None at strength 0, where no other input is read."""
        strength = self.allowed(strength)
        return self.setup(clip, strength=strength, **settings) if strength > 0.0 else None


class RelatedGuiderNode(MethodNode, GuiderNode):
    """A guider by a related method: the inputs of the host's guider beside the method's."""

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

    def check(self, model: ModelPatcher, positive: Conditioning, negative: Conditioning, cfg: float) -> None:
        """Raises ValueError, naming the input, for what the host's guider can't take."""
        check_links(model=model, positive=positive, negative=negative)
        check_numbers(cfg=cfg)


class MethodGuiderNode(RelatedGuiderNode):
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
        self.check(model, positive, negative, cfg)
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
