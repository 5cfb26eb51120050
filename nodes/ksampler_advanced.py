"""SafelightKSamplerAdvanced: the host's KSampler (Advanced) with a safe counterpart to the positive prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.samplers
import torch

from safelight.checks import check_links, check_numbers
from safelight.detect.detector import Detector
from safelight.engine.ksampler import SamplingJob, SeedNoise, cut_short, stock_sampler
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


class SafelightKSamplerAdvanced(SamplerNode):
    DESCRIPTION = SamplerNode.DESCRIPTION + (
        " Stages of one picture get the weights of the whole run: give each the same steps, schedule and safety."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "safety": inputs.SAFETY,
                "add_noise": (
                    ["enable", "disable"],
                    {"advanced": True, "tooltip": "Disable to go on with a latent that still has its noise."},
                ),
                "noise_seed": ("INT", inputs.SEED),
                "steps": inputs.STEPS,
                "cfg": inputs.CFG,
                "sampler_name": inputs.SAMPLER_NAME,
                "scheduler": inputs.SCHEDULER,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "latent_image": inputs.LATENT_IMAGE,
                "start_at_step": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 10000,
                        "advanced": True,
                        "tooltip": "The first step of this stage.",
                    },
                ),
                "end_at_step": (
                    "INT",
                    {
                        "default": 10000,
                        "min": 0,
                        "max": 10000,
                        "advanced": True,
                        "tooltip": "The step before which this stage ends.",
                    },
                ),
                "return_with_leftover_noise": (
                    ["disable", "enable"],
                    {"advanced": True, "tooltip": "Enable where another stage goes on from here."},
                ),
            },
            "optional": cls.OPTIONAL,
        }

    def sample(
        self,
        model: ModelPatcher,
        add_noise: str,
        noise_seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        positive: Conditioning,
        safe: Conditioning,
        negative: Conditioning,
        latent_image: dict[str, Any],
        start_at_step: int,
        end_at_step: int,
        return_with_leftover_noise: str,
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
        check_numbers(noise_seed=noise_seed, steps=steps, cfg=cfg, start_at_step=start_at_step, end_at_step=end_at_step)
        eye = read_eye(detector, vae, at_least, hide, words)
        settings = read_settings(safety, schedule, risk, gate, mask, selective, economy, looks=eye is not None)
        stock = stock_sampler(model, steps, sampler_name, scheduler)
        full_sigmas = cut_short(stock.sigmas, end_at_step, return_with_leftover_noise)
        sigmas = full_sigmas[start_at_step : end_at_step + 1]
        sigmas = sigmas if len(sigmas) > 1 else sigmas[:0]  # no step: as the stock node, the latent as it is
        sampler = comfy.samplers.sampler_object(stock.sampler)
        noise, kept = SeedNoise(noise_seed, add_noise != "disable"), RowMemory() if memory else None
        job = SamplingJob(model, positive, safe, negative, latent_image, noise, cfg, sampler, sigmas, full_sigmas, kept)
        return self.sampled(job, settings, eye, steps, merge, merge_at)
