"""Guidance by differences of noise predictions: what Safe Latent Diffusion, CASG and TraSCE have in common.

Each takes a direction gamma from the noise that the positive prompt predicts, e_p' = e_p - strength * gamma, before the
host's classifier-free guidance multiplies it by its scale. With x = D + sigma e, noise is e = (x - D) / sigma, so that
D_p' = D_p + sigma * strength * gamma. In flow models (x = (1 - sigma) D + sigma n) the same quotient is the velocity:
the formulas hold, constants found for noise do not carry over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from safelight.guidance.method import EMPTY, NEGATIVE, POSITIVE, GuidanceMethod, Guided, Needs, Step
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.settings import GuidanceSettings


class NoiseGuidance(GuidanceMethod):
    """A direction from the predictions under the positive prompt, the negative one and each unsafe text.

    warm_up: progress in [0, 1] before which the direction is not applied. remembers: whether its state needs the calls
    before that as well. texts: how many unsafe texts there are.
    """

    start_name = "warm-up"
    unguided = (
        "model: the guidance never acted in this run (the prompt's timestep range, a cache of another node or the "
        "sampler left out every guided step), so the picture is not guided. Widen the range, or use more steps."
    )

    unmoved = (
        "strength: the guidance changed nothing in this run, so the picture is not guided. Raise it, or write unsafe "
        "texts that say something else than the prompt and the negative do."
    )

    def __init__(self, warm_up: float, remembers: bool, texts: int = 1, strength: float = 1.0) -> None:
        self.warm_up, self.remembers, self.strength = warm_up, remembers, strength
        self.unsafe = unsafe_names(texts)
        self.conds = (*self.unsafe, EMPTY)

    def direction(
        self, noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """gamma, [B, C, ...], in units of noise, as noise_cond in shape and dtype.

        noise_uncond, noise_cond: e_0 and e_p, predictions under the negative and the positive prompt. noises: one for
        each unsafe text. step: the sampling step, as step_of gives it. State advances at the first call of a step.
        """
        raise NotImplementedError

    def settings(self, start: Callable[[], float]) -> GuidanceSettings:
        return GuidanceSettings(1.0, WeightSchedule(((0.0, 1.0), (1.0, 1.0)), start_percent=self.warm_up))

    def needs(self, step: Step) -> Needs:
        predictions = (POSITIVE, NEGATIVE, *self.unsafe)
        idle = step.weight == 0.0 and not self.remembers
        if idle or not step.active.issuperset(predictions):
            return Needs((POSITIVE,), alone=True)
        return Needs(predictions)

    def combine(self, step: Step, denoised: dict[str, torch.Tensor]) -> Guided:
        x, sigma, denoised_cond = step.x, step.sigma, denoised[POSITIVE]
        gamma = self.direction(
            to_noise(x, denoised[NEGATIVE], sigma),
            to_noise(x, denoised_cond, sigma),
            [to_noise(x, denoised[name], sigma) for name in self.unsafe],
            step.index,
        )
        if step.weight == 0.0:
            return Guided(denoised_cond, denoised_cond)
        cond = moved(denoised_cond, gamma, sigma, step.weight)
        # Where areas and masks leave a text out, its prediction says nothing.
        for name in (POSITIVE, NEGATIVE, *self.unsafe):
            reach = step.reach(name)
            cond = cond if reach is None else torch.where(reach, cond, denoised_cond)
        return Guided(cond, denoised_cond)


def unsafe_names(texts: int) -> tuple[str, ...]:
    """The names of the conditionings of that many unsafe texts."""
    return tuple(f"safelight unsafe {i}" for i in range(texts))


def to_noise(x: torch.Tensor, denoised: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """e = (x - denoised) / sigma. x, denoised: [B, C, ...]; sigma: [B], above 0."""
    return (x - denoised) / _per_picture(sigma, x)


def moved(denoised_cond: torch.Tensor, gamma: torch.Tensor, sigma: torch.Tensor, strength: float) -> torch.Tensor:
    """The positive prompt's prediction without strength * gamma of its noise. sigma: [B]."""
    return denoised_cond + _per_picture(sigma, denoised_cond) * (strength * gamma)


def _per_picture(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return sigma.to(device=x.device, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
