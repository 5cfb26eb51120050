"""Safe Latent Diffusion (Schramowski et al., CVPR 2023, arXiv 2211.05105), by the equations of the released code.

With the noise predictions e_0 (negative), e_p (prompt) and e_S (the safety concept), element by element:

    phi   = s_S |e_p - e_S|, at most 1              Eq 6. The paper prints max(1, |phi|); the code takes the less.
    mu    = 0 where e_p - e_S >= lambda, else phi   Eq 5. The difference has its sign: only what lies below counts.
    gamma = (e_S - e_0) mu + s_m nu                 Eq 4 and 7; nu is 0 at first
    nu    = beta_m nu + (1 - beta_m) gamma          Eq 8, during the warm-up too, with gamma as Eq 7 leaves it
    e     = e_0 + s_g (e_p - gamma - e_0)           Eq 2 and 3; before the warm-up has passed, without gamma
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from safelight.guidance.noise_guidance import NoiseGuidance


@dataclass(frozen=True)
class Config:
    """The numbers of the equations.

    warm_up: delta, as a share of the run in [0, 1]. scale: s_S. threshold: lambda, in units of the noise prediction.
    momentum_scale: s_m. momentum_decay: beta_m.
    """

    warm_up: float
    scale: float
    threshold: float
    momentum_scale: float
    momentum_decay: float


# The released configurations. Their warm-ups are 15, 10, 7 and 0 of 50 steps.
PRESETS = {
    "weak": Config(0.30, 20.0, 0.0, 0.0, 0.0),
    "medium": Config(0.20, 1000.0, 0.01, 0.3, 0.4),
    "strong": Config(0.14, 2000.0, 0.025, 0.5, 0.7),
    "max": Config(0.0, 5000.0, 1.0, 0.5, 0.7),
}
DEFAULT_PRESET = "medium"


def read_preset(preset: str) -> Config:
    """The numbers of a preset. Raises ValueError, naming the input, for an unknown one."""
    if preset not in PRESETS:
        raise ValueError(f"preset: unknown preset {preset!r}. Choose one of {', '.join(PRESETS)}.")
    return PRESETS[preset]


class SafeLatentDiffusion(NoiseGuidance):
    """The direction gamma over one run. Its momentum needs the calls of the warm-up as well."""

    def __init__(self, config: Config, strength: float = 1.0) -> None:
        super().__init__(config.warm_up, config.momentum_scale != 0.0, strength=strength)
        self.config = config
        self._step = -1  # the latest one seen
        self._momentum: torch.Tensor | None = None  # nu of that step; None for zero
        self._next: torch.Tensor | None = None  # nu of the step after it

    def direction(
        self, noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """gamma, as noise_cond in shape and dtype, to be taken from noise_cond.

        noise_uncond, noise_cond and the one tensor of noises: e_0, e_p and e_S, [B, C, ...], in units of noise.
        step: index of the schedule's step that the call lies in. The momentum moves on at the first call of a step;
        further calls of that step, and any of an earlier one, use it as it was then.
        Every element is for itself. Computed in float32 at least, for the momentum's sake.
        """
        (noise_s,) = noises
        precise = torch.promote_types(noise_cond.dtype, torch.float32)
        e_0, e_p, e_s = noise_uncond.to(precise), noise_cond.to(precise), noise_s.to(precise)
        first = step > self._step
        if first:
            self._step, self._momentum = step, self._next

        for held in (self._momentum, self._next):
            if held is not None and held.shape != e_p.shape:  # the sampler enlarged the latents
                self._momentum = self._next = None
        difference = e_p - e_s
        phi = (difference.abs() * self.config.scale).clamp(max=1.0)
        gamma = (e_s - e_0) * torch.where(difference >= self.config.threshold, torch.zeros_like(phi), phi)
        if not self.remembers:
            return gamma.to(noise_cond.dtype)
        if self._momentum is not None:
            gamma = gamma + self.config.momentum_scale * self._momentum
        if first:
            decay = self.config.momentum_decay
            self._next = (1 - decay) * gamma if self._momentum is None else decay * self._momentum + (1 - decay) * gamma
        return gamma.to(noise_cond.dtype)
