"""Guidance by differences of noise predictions: what Safe Latent Diffusion, CASG and TraSCE have in common.

Each takes a direction gamma from the noise that the written prompt predicts, e_p' = e_p - strength * gamma, before the
host's classifier-free guidance multiplies it by its scale. With x = D + sigma e, noise is e = (x - D) / sigma, so that
D_p' = D_p + sigma * strength * gamma. In flow models (x = (1 - sigma) D + sigma n) the same quotient is the velocity:
the formulas hold, constants found for noise do not carry over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class NoiseGuidance(Protocol):
    """A method, for one run: a new object each.

    warm_up: progress in [0, 1] before which the direction is not applied. remembers: whether its state needs the calls
    before that as well.
    """

    warm_up: float
    remembers: bool

    def direction(
        self, noise_0: torch.Tensor, noise_p: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """gamma, [B, C, ...], in units of noise.

        noise_0, noise_p: predictions without a prompt and with the one written; noises: one for each unsafe text.
        step: of the noise schedule, as step_of gives it. State advances at the first call of a step.
        """
        ...


def to_noise(x: torch.Tensor, denoised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """e = (x - denoised) / sigma. x, denoised: [B, C, ...]; sigma: [B], above 0."""
    return (x - denoised) / _as(sigma, x)


def steered(denoised_p: torch.Tensor, gamma: torch.Tensor, sigma: torch.Tensor, strength: float) -> torch.Tensor:
    """The written prompt's prediction without strength * gamma of its noise. sigma: [B]."""
    return denoised_p + _as(sigma, denoised_p) * (strength * gamma)


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """Index of the step that a call at noise level sigma lies in: the last whose start is not below sigma.

    sigmas: noise levels of the run from noisy to clean. Levels above the first belong to step 0.
    """
    return max((i for i, level in enumerate(sigmas[:-1]) if level >= sigma), default=0)


def _as(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return sigma.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
