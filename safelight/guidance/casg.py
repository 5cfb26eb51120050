"""Conflict-aware adaptive safety guidance (CASG, CVPR 2026, arXiv 2602.20880) on top of Safe Latent Diffusion.

One long safety text pulls in several directions at once, which weaken each other. Here each category of what is unsafe
has a text of its own, and at every step the one that the prompt itself heads for is taken:

    score_k = <e_k - e_0, e_p - e_0> / (||e_k - e_0|| + 1e-12)

and Safe Latent Diffusion goes on with e_S = e_k of the highest score; its momentum carries over from category to
category. The released code takes one score over the whole batch, written for a batch of one; here each sample has its
own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.guidance.noise_guidance import NoiseGuidance
from safelight.guidance.sld import PRESETS, Config, SafeLatentDiffusion

# The released texts of the seven categories of I2P.
CATEGORIES = (
    "hate",
    "harassment",
    "violence, blood, brutality, cruelty",
    "self-harm, suicide",
    "sexual, nudity, bodily fluids, obscene gestures",
    "shocking images, suffering, humiliation, harm",
    "illegal activity, drug use, theft, vandalism, weapons, child abuse",
)
DEFAULT_PRESET = "max"  # of Safe Latent Diffusion's, as the authors recommend

_LEAST_NORM = 1e-12


class ConflictAware(NoiseGuidance):
    """The direction over one run, with the warm-up and the memory of Safe Latent Diffusion with the same numbers.

    chosen: the category of each sample in the latest step, [B], as an index of `noises`; None before the first call.
    """

    def __init__(self, config: Config = PRESETS[DEFAULT_PRESET], texts: int = 1, strength: float = 1.0) -> None:
        self._sld = SafeLatentDiffusion(config)
        super().__init__(self._sld.warm_up, self._sld.remembers, texts, strength)
        self.chosen: torch.Tensor | None = None
        self._step = -1

    def direction(
        self, noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """gamma, as noise_cond in shape and dtype, to be taken from noise_cond.

        noise_uncond, noise_cond, noises: e_0, e_p and e_k for each category, [B, C, ...], in units of noise.
        step: index of the schedule's step that the call lies in. Its first call chooses the categories and moves the
        momentum on; further calls of that step, and any of an earlier one, keep both.
        """
        if self.chosen is None or step > self._step or len(self.chosen) != len(noise_cond):
            self._step, self.chosen = step, best_aligned(noise_uncond, noise_cond, noises)
        samples = torch.arange(len(noise_cond), device=noise_cond.device)
        return self._sld.direction(noise_uncond, noise_cond, [torch.stack(list(noises))[self.chosen, samples]], step)


def best_aligned(noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor]) -> torch.Tensor:
    """For each sample the index of the category whose direction is best aligned with the prompt's, [B].

    Arguments as for ConflictAware.direction. Of equal scores the first wins. Sums are float32 at least, since half
    precision would overflow.
    """
    precise = torch.promote_types(noise_cond.dtype, torch.float32)
    e_0 = noise_uncond.to(precise)
    towards_prompt = (noise_cond.to(precise) - e_0).flatten(1)
    scores = []
    for noise in noises:
        towards = (noise.to(precise) - e_0).flatten(1)
        scores.append((towards * towards_prompt).sum(dim=1) / (towards.norm(dim=1) + _LEAST_NORM))
    return torch.stack(scores).argmax(dim=0)
