"""TraSCE's modified negative guidance (arXiv 2412.07658): e = e_0 + s (e_p - e_neg).

The usual negative prompt stands in the place of e_0 and gives e_neg + s (e_p - e_neg): a prompt that says what the
negative says would then be drawn, since the difference is zero. Here such a prompt falls back to e_0, the picture of no
prompt. The paper's second half, which moves the latent along a gradient through the network at every step, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.guidance.noise_guidance import NoiseGuidance


class ModifiedNegative(NoiseGuidance):
    """The direction e_neg - e_0, from the first step on. It keeps no state."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(warm_up=0.0, remembers=False, strength=strength)

    def direction(
        self, noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """e_neg - e_0, to be taken from noise_cond: with guidance of scale s that gives e_0 + s (e_p - e_neg).

        noise_uncond, noise_cond and the one tensor of noises: e_0, e_p and e_neg, [B, C, ...]. step: not used.
        """
        (noise_neg,) = noises
        return noise_neg - noise_uncond
