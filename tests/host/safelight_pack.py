"""The pack's nodes, run as the host's executor runs them."""

from __future__ import annotations

import json
from typing import Any

import host
import loading
import torch

from safelight.guidance.schedule import WeightSchedule


class PlainVAE:
    """Shows the first three channels of a latent, twice as large."""

    def decode(self, samples: torch.Tensor) -> torch.Tensor:
        shown = (samples[:, :3].movedim(1, -1) * 0.1 + 0.5).clamp(0, 1)
        return shown.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-3)


class Pack:
    """The loaded pack: its node classes, and one method for each way to sample with it."""

    def __init__(self) -> None:
        self.module = loading.load_pack()
        self.nodes: dict[str, type] = self.module.NODE_CLASS_MAPPINGS

    def schedule(self, points: Any = ((0.0, 1.0), (1.0, 1.0)), context: float = 0.0, **options: Any) -> Any:
        """A SAFELIGHT_SCHEDULE; without arguments, full weight from the first step on."""
        options = {"interpolation": "linear", "axis": "noise level", **options}
        return WeightSchedule(tuple(points), start_percent=context, **options)

    def ksampler(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> torch.Tensor:
        """SafelightKSampler's latent."""
        return self.reported(model, positive, safe, negative, latent_image, **settings)[0]

    def reported(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> tuple[torch.Tensor, dict]:
        """SafelightKSampler's latent and its report."""
        settings = {**host.SETTINGS, "safety": 0.5, **settings}
        out = host.call(
            self.nodes["SafelightKSampler"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            latent_image=latent_image,
            **settings,
        )
        return out[0]["samples"], json.loads(out[1])

    def strip(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> tuple[torch.Tensor, dict, torch.Tensor, torch.Tensor]:
        """SafelightStrip's latents, report, strip and frames."""
        settings = {**host.SETTINGS, "levels": "0, 0.25, 0.5, 0.75, 1", "vae": PlainVAE(), **settings}
        strip, frames, latent, report, _ = host.call(
            self.nodes["SafelightStrip"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            latent_image=latent_image,
            **settings,
        )
        return latent["samples"], json.loads(report), strip, frames

    def advanced(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> torch.Tensor:
        """SafelightKSamplerAdvanced's latent."""
        settings = {**host.ADVANCED, "safety": 0.5, **settings}
        out = host.call(
            self.nodes["SafelightKSamplerAdvanced"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            latent_image=latent_image,
            **settings,
        )
        return out[0]["samples"]

    def custom(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> torch.Tensor:
        """SafelightGuider's latent in SamplerCustomAdvanced, with the noise and the noise levels of a KSampler."""
        sampling = {key: settings.pop(key, value) for key, value in host.SETTINGS.items()}
        guider = host.call(
            self.nodes["SafelightGuider"],
            model=model,
            positive=positive,
            safe=safe,
            negative=negative,
            cfg=sampling["cfg"],
            **{"safety": 0.5, **settings},
        )[0]
        return custom_sample(guider, host.sigmas_of(model, **sampling), latent_image, sampling)

    def patched(
        self, model: Any, positive: list, safe: list, negative: list, latent_image: dict, **settings: Any
    ) -> torch.Tensor:
        """The stock KSampler's latent behind SafelightModelPatch."""
        sampling = {key: settings.pop(key) for key in host.SETTINGS if key in settings}
        return host.stock(self.patch(model, safe, **settings), positive, negative, latent_image, **sampling)

    def patch(self, model: Any, safe: list, **settings: Any) -> Any:
        """The MODEL that SafelightModelPatch makes; skips on a host without wrappers."""
        host.require(host.has_wrappers(), "model wrappers")
        return host.call(self.nodes["SafelightModelPatch"], model=model, safe=safe, **{"safety": 0.5, **settings})[0]


def custom_sample(guider: Any, sigmas: torch.Tensor, latent_image: dict, sampling: dict) -> torch.Tensor:
    """SamplerCustomAdvanced's output with the noise of a KSampler."""
    module = host.extra("nodes_custom_sampler")
    noise = host.call(module.RandomNoise, noise_seed=sampling["seed"])[0]
    sampler = host.call(module.KSamplerSelect, sampler_name=sampling["sampler_name"])[0]
    return host.call(
        module.SamplerCustomAdvanced,
        noise=noise,
        guider=guider,
        sampler=sampler,
        sigmas=sigmas,
        latent_image=latent_image,
    )[0]["samples"]
