"""The declarations of inputs that several nodes share."""

from __future__ import annotations

from typing import Any

import comfy.samplers

from safelight.checks import required_text
from safelight.engine.least import DEFAULT_FLOOR
from safelight.engine.separate import DEFAULT_MERGE_AT, EVERY_STEP, MERGES
from safelight.guidance import casg, sld
from safelight.guidance.economy import MODES, OFF
from safelight.guidance.gate import DEFAULT_GATE
from safelight.guidance.schedule import DEFAULT_PRESET
from safelight.text import reader
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.views.findings import HIDINGS, KEEP

# What an artist types who looks for any of this: the node to begin with comes first, then the sampler.
EASY_ALIASES = [
    *("sfw", "nsfw", "safe", "safety", "content safety", "nudity", "nude", "censor", "uncensored", "moderation"),
    *("filter", "slider", "安全"),
]
GENERAL_ALIASES = ["sfw", "nsfw", "safe", "safety", "content safety"]
DEFAULT_SAFETY = 1.0

MODEL = ("MODEL", {"tooltip": "The model that denoises."})
POSITIVE = (
    "CONDITIONING",
    {"tooltip": "The prompt as written. It alone decides the layout, before the schedule's context."},
)
SAFE = (
    "CONDITIONING",
    {
        "tooltip": "The prompt's safe counterpart, from Safelight Context Encode or written by "
        "yourself. It takes over ControlNets, areas, masks and timestep ranges of "
        "`positive` that it lacks."
    },
)
NEGATIVE = ("CONDITIONING", {"tooltip": "What to keep out of the picture, as with any sampler."})
CFG = (
    "FLOAT",
    {
        "default": 8.0,
        "min": 0.0,
        "max": 100.0,
        "step": 0.1,
        "round": 0.01,
        "tooltip": "Classifier-free guidance scale: how closely the picture follows the prompt.",
    },
)
LATENT_IMAGE = ("LATENT", {"tooltip": "The latent image to denoise."})
SAFETY = (
    "FLOAT",
    {
        "default": DEFAULT_SAFETY,
        "min": 0.0,
        "max": 1.0,
        "step": 0.01,
        "display": "gradientslider",
        "gradient_stops": [{"offset": 0, "color": [74, 74, 74]}, {"offset": 1, "color": [56, 142, 118]}],
        "tooltip": "How strongly the safe prompt steers: 0 off, .25 low, .5 medium, .75 high, 1 full. At low and "
        "medium something unsafe may still show. At 0 the result is that of the stock sampler, bit for bit.",
    },
)
SCHEDULE = (
    "SAFELIGHT_SCHEDULE",
    {
        "tooltip": "When the safe prompt steers, from Safelight Weight Schedule. Without a "
        f'link: the preset "{DEFAULT_PRESET}"; in a sampler with a detector one of its own.'
    },
)
RISK = (
    "FLOAT",
    {
        "default": 1.0,
        "min": 0.0,
        "max": 1.0,
        "step": 0.01,
        "forceInput": True,
        "tooltip": "How unsafe the text is, from Safelight Context Encode or Safelight Prompt. Below `gate` the run is "
        "the stock sampler's. Without a link it counts as 1. It knows the text alone: leave it unlinked for "
        "image-to-image.",
    },
)
GATE = (
    "FLOAT",
    {
        "default": DEFAULT_GATE,
        "min": 0.0,
        "max": 1.0,
        "step": 0.01,
        "advanced": True,
        "tooltip": "A prompt whose risk is below this is left alone. 0 guides every prompt. It acts with `risk` "
        "linked.",
    },
)
MERGE = (
    list(MERGES),
    {
        "default": EVERY_STEP,
        "advanced": True,
        "tooltip": "every step: one latent, the two predictions merged at each step. separate (experimental): two "
        "latents from the schedule's context on, merged once at merge_at. values: one prediction, in whose "
        "cross-attentions the prompt says where and safe says what (SD1.x, SD2, SDXL).",
    },
)
MERGE_AT = (
    "FLOAT",
    {
        "default": DEFAULT_MERGE_AT,
        "min": 0.0,
        "max": 1.0,
        "step": 0.01,
        "advanced": True,
        "tooltip": "For merge = separate: the progress at which the two latents become one.",
    },
)
MASK = ("MASK", {"tooltip": "Where the safe prompt may steer. Outside the mask the prompt as written acts alone."})
SELECTIVE = (
    "SAFELIGHT_SELECTIVE",
    {
        "tooltip": "Where the safe prompt steers, from Safelight Selective: only where it wants something else than "
        "`positive`. Without a link: everywhere.",
    },
)
ECONOMY = (
    list(MODES),
    {
        "default": OFF,
        "advanced": True,
        "tooltip": "Between safety 0 and 1, and with a mask or selective, both prompts are evaluated: about 1.3 "
        "times the work of a stock run. balanced and free evaluate one of the two on most calls and remember the "
        "other: about 1.1 and 1.05 times the work, for almost the same picture. With a detector in a sampler, or "
        "merge = values, it stays off.",
    },
)
AT_LEAST = (
    "FLOAT",
    {
        "default": DEFAULT_FLOOR,
        "min": 0.0,
        "max": 1.0,
        "step": 0.05,
        "advanced": True,
        "tooltip": "With a detector: the safety that a prompt which is unsafe in itself begins with, whatever the "
        "detector finds. 0 begins with the plain picture.",
    },
)
HIDE = (
    list(HIDINGS),
    {
        "default": KEEP,
        "advanced": True,
        "tooltip": "With a detector: what becomes of a picture that no level up to safety lets pass. keep it as it is, "
        "blur or blank what was found.",
    },
)
MEMORY = (
    "BOOLEAN",
    {
        "default": True,
        "advanced": True,
        "tooltip": "Remember what the model predicts in this run, so that the next run of the same seed with another "
        "safety, schedule or safe prompt has less to evaluate. The picture is the same, bit for bit. Up to 256 MB of "
        "memory.",
    },
)
DETECTOR_TYPE = "SAFELIGHT_DETECTOR"
DETECTOR = (
    DETECTOR_TYPE,
    {
        "tooltip": "Looks at the picture on the way and at the end, such as Safelight NudeNet. Where it finds nothing "
        "the picture is the stock sampler's; else it is steered as little as is enough, up to safety. A risky text "
        "begins at at_least, and so does any without risk linked. Needs vae."
    },
)
VAE = ("VAE", {"tooltip": "Decodes what the detector looks at."})
WORDS_TYPE = "SAFELIGHT_WORDS"
WORDS = (
    WORDS_TYPE,
    {
        "tooltip": "With a detector: what it finds gives the safe prompt, from Safelight Words, where the words of the "
        "prompt are harmless and the picture is not, or where `safe` was not enough."
    },
)
# Optional inputs without a widget. They come after all widgets: converters of saved workflows take `risk` for a widget,
# and would give it the value of the one that follows.
SOCKETS = {"schedule": SCHEDULE, "risk": RISK, "mask": MASK, "selective": SELECTIVE}
# The optional inputs of guiders and model patches.
GUIDANCE = {"gate": GATE, "economy": ECONOMY, **SOCKETS}
STAND_INS = (
    "STRING",
    {
        "default": "",
        "multiline": True,
        "advanced": True,
        "tooltip": 'Stand-ins of your own, one per line: "knife = umbrella"; "knife =" leaves the word out; "knife = '
        "knife\" keeps it. They come before Safelight's table.",
    },
)
FALSE_ALARMS = (
    "FLOAT",
    {
        "default": reader.FALSE_ALARMS,
        "min": 0.01,
        "max": 0.1,
        "step": 0.01,
        "advanced": True,
        "tooltip": "How many harmless prompts may be taken for unsafe ones: .03 is three in a hundred. More finds more "
        "of the unsafe ones.",
    },
)
RISK_OUTPUT = "How unsafe the text is, 0 to 1; from .5 on it counts as unsafe. 1 where it can't be read."
CONCEPT = ("STRING", {"default": DEFAULT_CONCEPTS, "multiline": True, "tooltip": "What is unsafe, as one text."})
SEVEN = "\n".join(casg.CATEGORIES)
CATEGORIES = (
    "STRING",
    {
        "default": SEVEN,
        "multiline": True,
        "tooltip": "What is unsafe, one category per line. Each line is one more row of model evaluation per step.",
    },
)
EDITS = "Safelight/edits"  # the menu of edits
DETECT = "Safelight/detect"  # of detectors
EDIT_TOOLTIP = "The edit with its settings, for Safelight Save Edit."
TRACE_TOOLTIP = "Where and when the run was changed, for Safelight Map."


SEED = {
    "default": 0,
    "min": 0,
    "max": 0xFFFFFFFFFFFFFFFF,
    "control_after_generate": True,
    "tooltip": "The seed of the noise.",
}
STEPS = ("INT", {"default": 20, "min": 1, "max": 10000, "tooltip": "Number of steps."})
SAMPLER_NAME = (comfy.samplers.KSampler.SAMPLERS, {"tooltip": "The host's sampler."})
SCHEDULER = (comfy.samplers.KSampler.SCHEDULERS, {"tooltip": "How the noise is removed over the steps."})
DENOISE = (
    "FLOAT",
    {
        "default": 1.0,
        "min": 0.0,
        "max": 1.0,
        "step": 0.01,
        "tooltip": "Below 1 the picture starts from latent_image: image-to-image.",
    },
)


def is_widget(declared: tuple[Any, ...]) -> bool:
    """Whether an input has a value of its own, without a link."""
    return isinstance(declared[0], list) or declared[0] in ("INT", "FLOAT", "STRING", "BOOLEAN")


def concepts_input(
    tooltip: str = "What counts as unsafe, separated by commas; or link Safelight Concepts.",
) -> tuple[str, dict[str, Any]]:
    """The declaration of a list of concepts."""
    return "STRING", {"default": DEFAULT_CONCEPTS, "multiline": True, "tooltip": tooltip}


def training_seed(tooltip: str) -> tuple[str, dict[str, Any]]:
    """The declaration of a seed that stays as it is from run to run, so that nothing is trained again."""
    return "INT", {
        "default": 0,
        "min": 0,
        "max": 0xFFFFFFFFFFFFFFFF,
        "control_after_generate": False,
        "tooltip": tooltip,
    }


def safe_prompt_input(tooltip: str) -> tuple[str, dict[str, Any]]:
    """The declaration of a safe prompt that the artist may write."""
    return "STRING", {"default": "", "multiline": True, "dynamicPrompts": True, "tooltip": tooltip}


def threshold_input(default: float, least: float, tooltip: str) -> tuple[str, dict[str, Any]]:
    """How sure a detector has to be. least: what it is never sure below."""
    return "FLOAT", {"default": default, "min": least, "max": 0.99, "step": 0.01, "tooltip": tooltip}


def strength_input(maximum: float, tooltip: str) -> tuple[str, dict[str, Any]]:
    """The declaration of a method's strength from 0 to `maximum`, as a slider; 1 is the method as it is."""
    return "FLOAT", {
        "default": 1.0,
        "min": 0.0,
        "max": maximum,
        "step": 0.05,
        "display": "gradientslider",
        "gradient_stops": SAFETY[1]["gradient_stops"],
        "tooltip": tooltip,
    }


def sld_preset(default: str) -> tuple[list[str], dict[str, Any]]:
    """The declaration of a preset of Safe Latent Diffusion."""
    tooltip = "The published settings of Safe Latent Diffusion, from weak to max."
    return list(sld.PRESETS), {"default": default, "tooltip": tooltip}


def category_lines(categories: str) -> list[str]:
    """The categories, one for each line with something in it. Raises ValueError where there is none."""
    lines = required_text("categories", categories).splitlines()
    return [line.strip() for line in lines if line.strip()]
