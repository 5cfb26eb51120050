"""SafelightStrip: one seed at several places of the safety slider, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links, check_numbers
from safelight.detect.detector import Detector
from safelight.engine.ksampler import seed_job
from safelight.engine.least import read_eye
from safelight.engine.strip import sample_strip, shown_frames
from safelight.engine.studio import finish, read_settings, strip_levels
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.text.conditioning import Conditioning
from safelight.views.contact_sheet import DEFAULT_LEVELS, FEWEST, MOST, read_levels

from . import inputs
from .bases import ServedNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE


LEVELS = (
    "STRING",
    {
        "default": DEFAULT_LEVELS,
        "tooltip": f"The places of the safety slider to show, {FEWEST} to {MOST} numbers from 0 to 1, in this order.",
    },
)
VAE_INPUT = ("VAE", {"tooltip": "Decodes the pictures of the strip."})
DETECTOR = (
    inputs.DETECTOR_TYPE,
    {
        "tooltip": "Looks at every picture of the strip, such as Safelight NudeNet. What it found is written over "
        "each; the least level at which it finds nothing is marked."
    },
)


class SafelightStrip(ServedNode):
    RETURN_TYPES = ("IMAGE", "IMAGE", "LATENT", "STRING", "BOOLEAN")
    RETURN_NAMES = ("strip", "frames", "LATENT", "report", "passed")
    OUTPUT_TOOLTIPS = (
        "One picture: a column for each level, with the level over it; with a detector also what it found.",
        "The pictures alone, as a batch, level after level.",
        "Their latents, in the same order.",
        "What the run did, as JSON: the weights of every level, risk, gate, rows.",
        "With a detector: true where for every picture some level passes. False without one, since nobody looked.",
    )
    FUNCTION = "sample"
    CATEGORY = "Safelight/sampling"
    SEARCH_ALIASES = ["compare", "contact sheet", "x/y plot", "grid"]
    DESCRIPTION = (
        "One seed at several places of the safety slider, side by side, in one sampling run: what the levels have in "
        "common is evaluated once. Each picture is what Safelight KSampler gives at that level. With a detector it "
        "says which level is enough."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "vae": VAE_INPUT,
                "latent_image": inputs.LATENT_IMAGE,
                "levels": LEVELS,
                "seed": ("INT", inputs.SEED),
                "steps": inputs.STEPS,
                "cfg": inputs.CFG,
                "sampler_name": inputs.SAMPLER_NAME,
                "scheduler": inputs.SCHEDULER,
                "denoise": inputs.DENOISE,
            },
            "optional": {"gate": inputs.GATE, "economy": inputs.ECONOMY, **inputs.SOCKETS, "detector": DETECTOR},
        }

    def sample(
        self,
        model: ModelPatcher,
        positive: Conditioning,
        safe: Conditioning,
        negative: Conditioning,
        vae: VAE | None,
        latent_image: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        levels: str,
        schedule: WeightSchedule | None = None,
        risk: float = 1.0,
        gate: float = inputs.DEFAULT_GATE,
        mask: torch.Tensor | None = None,
        selective: Selection | None = None,
        economy: str = inputs.OFF,
        detector: Detector | None = None,
    ) -> dict[str, Any]:
        check_links(model=model, positive=positive, negative=negative, latent_image=latent_image)
        check_numbers(seed=seed, steps=steps, cfg=cfg, denoise=denoise)
        asked, eye = read_levels(levels), read_eye(detector, vae)
        safeties = strip_levels(asked)
        settings = read_settings(max(asked), schedule, risk, gate, mask, selective, economy)
        run = steps, cfg, sampler_name, scheduler, denoise
        job = seed_job(model, positive, safe, negative, latent_image, seed, *run)
        outcome = sample_strip(job, settings, safeties, sampler_name, vae, eye)
        _, _, latent, report, _ = outcome["result"]
        finish(report, latent["samples"], type(self).__name__, seed, len(safeties))
        return {**outcome, "ui": shown_frames(outcome, seed)}
