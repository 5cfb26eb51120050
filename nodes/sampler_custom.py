"""SafelightSamplerCustom: custom sampling with a safe counterpart to the positive prompt, and a detector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from safelight.checks import check_links, check_numbers
from safelight.detect.detector import Detector
from safelight.engine.ksampler import Noise, SamplingJob
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
    from comfy.samplers import KSAMPLER
    from comfy.sd import VAE


class SafelightSamplerCustom(SamplerNode):
    SEARCH_ALIASES = [*SamplerNode.SEARCH_ALIASES, "custom sampling", "sigmas", "detector"]
    DESCRIPTION = (
        "Safelight KSampler with a noise, a sampler and sigmas of your own, as Sampler Custom Advanced takes them. "
        "With a detector it looks first and steers as little as is enough. At safety 0, and for a prompt whose risk is "
        'below the gate, the result is the stock sampler\'s, bit for bit. With the axis "steps", progress is that of '
        "the sigmas. A creative control, not a moderation gate."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        merging = ("merge", "merge_at")
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "noise": ("NOISE", {"tooltip": "The noise to start from, such as Random Noise."}),
                "sampler": ("SAMPLER", {"tooltip": "The sampler, such as KSampler Select gives it."}),
                "sigmas": ("SIGMAS", {"tooltip": "The noise levels of the run, such as Basic Scheduler gives them."}),
                "latent_image": inputs.LATENT_IMAGE,
                "cfg": inputs.CFG,
                "safety": inputs.SAFETY,
            },
            "optional": {name: declared for name, declared in cls.OPTIONAL.items() if name not in merging},
        }

    def sample(
        self,
        model: ModelPatcher,
        positive: Conditioning,
        safe: Conditioning,
        negative: Conditioning,
        noise: Noise,
        sampler: KSAMPLER,
        sigmas: torch.Tensor,
        latent_image: dict[str, Any],
        cfg: float,
        safety: float,
        schedule: WeightSchedule | None = None,
        risk: float = 1.0,
        gate: float = inputs.DEFAULT_GATE,
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
        check_links(model=model, positive=positive, negative=negative, noise=noise, sampler=sampler, sigmas=sigmas)
        check_links(latent_image=latent_image)
        check_numbers(cfg=cfg)
        eye = read_eye(detector, vae, at_least, hide, words)
        settings = read_settings(safety, schedule, risk, gate, mask, selective, economy, looks=eye is not None)
        kept = RowMemory() if memory else None
        job = SamplingJob(model, positive, safe, negative, latent_image, noise, cfg, sampler, sigmas, sigmas, kept)
        return self.sampled(job, settings, eye, sigmas.shape[-1] - 1)
