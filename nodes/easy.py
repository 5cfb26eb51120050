"""SafelightEasy: a prompt and one slider give a picture, with the plain one beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links, check_numbers, check_texts
from safelight.detect.detector import Detector
from safelight.engine import easy
from safelight.engine.encoder import check_clip, encode_prompt
from safelight.engine.ksampler import seed_job
from safelight.engine.least import read_eye
from safelight.engine.made_for import made_for
from safelight.engine.row_memory import RowMemory
from safelight.engine.studio import may_compare, raised, read_settings
from safelight.engine.words import make_words
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS

from . import inputs
from .bases import SamplingNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP, VAE

MADE_FOR = "0: what the model is made for, which the report names."
DENOISE = 0.6


def advanced(declaration: tuple[Any, dict[str, Any]], **changed: Any) -> tuple[Any, dict[str, Any]]:
    """The declaration of an input that newer pages fold away."""
    return declaration[0], {**declaration[1], "advanced": True, **changed}


def side(name: str) -> tuple[str, dict[str, Any]]:
    """The declaration of a picture's width or height."""
    tooltip = f"The picture's {name} in pixels. {MADE_FOR} With an image linked its own size counts."
    return "INT", {"default": 0, "min": 0, "max": 16384, "step": 8, "advanced": True, "tooltip": tooltip}


class SafelightEasy(SamplingNode):
    RETURN_TYPES = ("IMAGE", "IMAGE", "IMAGE", "STRING", "BOOLEAN")
    RETURN_NAMES = ("image", "before", "map", "report", "passed")
    OUTPUT_TOOLTIPS = (
        "The picture.",
        "The plain picture of the same seed, without safety. The same as `image` where nothing was steered, where "
        "compare is off, and for a picture that was hidden.",
        "Where the two pictures differ: grey and dim, with a glow there. Without compare, where safety acted.",
        "What the run did, as JSON: the weight of every call, risk, gate, rows, and the size and cfg that were chosen.",
        "With a detector: true where it finds nothing in any picture. False without one, since nobody looked.",
    )
    OUTPUT_NODE = True
    FUNCTION = "make"
    CATEGORY = "Safelight"
    SEARCH_ALIASES = inputs.EASY_ALIASES
    DESCRIPTION = (
        "One node to begin with: a prompt, one slider, a picture. It puts harmless words in the place of unsafe ones, "
        "lets the prompt as written settle the layout and then steers as strongly as the slider says. After the run it "
        "shows before and after, what was changed in words, and where. At 0, and for a prompt in which nothing unsafe "
        "is found, the picture is the stock sampler's, bit for bit. A creative control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "The model that draws: of Load Checkpoint or Safelight Demo Model."}),
                "clip": ("CLIP", {"tooltip": "The model's text encoder."}),
                "vae": ("VAE", {"tooltip": "The model's VAE, which decodes the picture."}),
                "prompt": (
                    "STRING",
                    {"multiline": True, "dynamicPrompts": True, "tooltip": "What you want to see, in your own words."},
                ),
                "safety": inputs.SAFETY,
                "seed": ("INT", inputs.SEED),
            },
            "optional": {
                "negative": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "advanced": True,
                        "tooltip": "What to keep out of the picture, as with any sampler. At cfg 1 it does nothing.",
                    },
                ),
                "safe_prompt": advanced(
                    inputs.safe_prompt_input("What to show instead. Where it is empty, Safelight rewrites the prompt.")
                ),
                "concepts": advanced(inputs.concepts_input()),
                "stand_ins": advanced(inputs.STAND_INS),
                "width": side("width"),
                "height": side("height"),
                "batch_size": (
                    "INT",
                    {"default": 1, "min": 1, "max": 64, "advanced": True, "tooltip": "How many pictures at once."},
                ),
                "steps": advanced(inputs.STEPS),
                "cfg": advanced(
                    inputs.CFG, default=0.0, tooltip=f"How closely the picture follows the prompt. {MADE_FOR}"
                ),
                "sampler_name": advanced(inputs.SAMPLER_NAME, default="euler"),
                "scheduler": advanced(inputs.SCHEDULER, default="simple"),
                "denoise": advanced(
                    inputs.DENOISE,
                    default=DENOISE,
                    tooltip="With an image linked: how much of it is drawn anew, 1 all of it. Without one it does "
                    "nothing.",
                ),
                "hide": inputs.HIDE,
                "compare": (
                    "BOOLEAN",
                    {
                        "default": True,
                        "advanced": True,
                        "tooltip": "Make the plain picture too, to see before and after. It is unguarded, and costs "
                        "the evaluations of the model that the two pictures don't share; where nothing was steered, "
                        "none.",
                    },
                ),
                "image": (
                    "IMAGE",
                    {
                        "tooltip": "A picture to begin with, instead of noise: image to image. What it shows is not "
                        "read, so its prompt counts as unsafe whatever it says."
                    },
                ),
                "detector": (
                    inputs.DETECTOR_TYPE,
                    {
                        "tooltip": "Looks at the picture, such as Safelight NudeNet. Where it finds nothing, the "
                        "picture is the stock sampler's; else it is steered as little as is enough, up to safety."
                    },
                ),
            },
        }

    def make(
        self,
        model: ModelPatcher,
        clip: CLIP,
        vae: VAE,
        prompt: str,
        safety: float,
        seed: int,
        negative: str = "",
        safe_prompt: str = "",
        concepts: str = DEFAULT_CONCEPTS,
        stand_ins: str = "",
        width: int = 0,
        height: int = 0,
        batch_size: int = 1,
        steps: int = 20,
        cfg: float = 0.0,
        sampler_name: str = "euler",
        scheduler: str = "simple",
        denoise: float = DENOISE,
        hide: str = inputs.KEEP,
        compare: bool = True,
        image: torch.Tensor | None = None,
        detector: Detector | None = None,
    ) -> dict[str, Any]:
        check_links(model=model, vae=vae)
        check_clip(clip)
        check_texts(negative=negative)
        check_numbers(width=width, height=height, batch_size=batch_size, seed=seed, steps=steps, cfg=cfg)
        check_numbers(denoise=denoise, safety=safety)
        texts = {"safe_prompt": safe_prompt, "concepts": concepts, "stand_ins": stand_ins}
        eye = read_eye(detector, vae, hide=hide)
        if eye is not None:
            eye = replace(eye, words=make_words(clip, prompt, FALSE_ALARMS, instead="", caption="", **texts))
        context = easy.read_prompt(clip, prompt, raised(safety), **texts)
        risk = context.verdict.risk if image is None else 1.0
        settings = read_settings(safety, risk=risk, looks=eye is not None)
        chosen, notes = easy.choose(made_for(model), width, height, cfg, image)
        settings = replace(settings, notes=(*settings.notes, *notes))
        if image is None:
            latent, denoise = easy.empty_latent(model, vae, chosen.width, chosen.height, batch_size), 1.0
        else:
            latent = easy.encoded(vae, image, batch_size)
        conds = context.positive, context.safe, encode_prompt(clip, negative)
        job = seed_job(model, *conds, latent, seed, steps, chosen.cfg, sampler_name, scheduler, denoise, RowMemory())
        outcome = self.sampled(job, settings, eye, steps)["result"]
        views = easy.views_of(job, vae, outcome, steps, compare and may_compare())
        ui = {**views.ui(), "safelight_verdict": [context.verdict.as_json()]}
        return {"ui": ui, "result": (views.after, views.before, views.map, views.report, outcome[-1])}
