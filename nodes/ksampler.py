"""SafelightKSampler: the host's KSampler with a safe counterpart to the positive prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links, check_numbers
from safelight.detect.detector import Detector
from safelight.engine.ksampler import seed_job
from safelight.engine.least import read_eye
from safelight.engine.row_memory import RowMemory
from safelight.engine.studio import read_settings
from safelight.engine.words import Words
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.text.conditioning import Conditioning

from . import inputs
from .bases import SamplerNode

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE


class SafelightKSampler(SamplerNode):
    SEARCH_ALIASES = [*inputs.GENERAL_ALIASES, *SamplerNode.SEARCH_ALIASES]

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "latent_image": inputs.LATENT_IMAGE,
                "safety": inputs.SAFETY,
                "seed": ("INT", inputs.SEED),
                "steps": inputs.STEPS,
                "cfg": inputs.CFG,
                "sampler_name": inputs.SAMPLER_NAME,
                "scheduler": inputs.SCHEDULER,
                "denoise": inputs.DENOISE,
            },
            "optional": cls.OPTIONAL,
        }

    def sample(
        self,
        model: ModelPatcher,
        positive: Conditioning,
        safe: Conditioning,
        negative: Conditioning,
        latent_image: dict[str, Any],
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        safety: float,
        schedule: WeightSchedule | None = None,
        risk: float = 1.0,
        gate: float = inputs.DEFAULT_GATE,
        merge: str = inputs.EVERY_STEP,
        merge_at: float = inputs.DEFAULT_MERGE_AT,
        mask: torch.Tensor | None = None,
        selective: Selection | None = None,
        economy: str = inputs.OFF,
        at_least: float = inputs.DEFAULT_FLOOR,
        hide: str = inputs.KEEP,
        memory: bool = True,
        detector: Detector | None = None,
        vae: VAE | None = None,
        words: Words | None = None,
    ) -> dict[str, Any]:
        check_links(model=model, positive=positive, negative=negative, latent_image=latent_image)
        check_numbers(seed=seed, steps=steps, cfg=cfg, denoise=denoise)
        eye = read_eye(detector, vae, at_least, hide, words)
        settings = read_settings(safety, schedule, risk, gate, mask, selective, economy, looks=eye is not None)
        run, kept = (steps, cfg, sampler_name, scheduler, denoise), RowMemory() if memory else None
        job = seed_job(model, positive, safe, negative, latent_image, seed, *run, kept)
        return self.sampled(job, settings, eye, steps, merge, merge_at)
