"""Concept removal guidance, after CRG (arXiv 2606.29801, ICML 2026; no code is released).

With the noise predictions e_0 (negative), e_p (prompt) and e_n (a concept's text), and D = e_n - e_0, the evidence for
the concept in a step's prediction, and what is taken from it, are

    b     = |e_p - e_0|^2 - |e_p - e_n|^2
    omega = (b / 2 - tau) / |D|^2 where that is above 0, else 0
    e_p'  = e_p - 2 omega D

which are K = 1 and lambda_0 = 2 of the paper, without its sum over earlier steps. Our algebra: with the share
p = <e_p - e_0, D> / |D|^2 of the concept's direction that the prompt goes, b = (2 p - 1) |D|^2, so that at tau = 0

    e_p' = e_p - 2 max(0, p - 1/2) D

Twice what goes beyond one half is taken away: the concept itself (p = 1) becomes e_0, and what goes less than half of
its way is left alone. No constant has the scale of the noise, so this holds for velocities too.

Ours: one text for each concept, of which each picture at each step has the one that it goes furthest for, since texts
that are joined into one hide one another; the share in place of tau; and no guidance in the first steps, where D is
next to nothing and p says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from safelight.checks import unit_number
from safelight.guidance.noise_guidance import NoiseGuidance

WARM_UP = 0.1  # progress; two of twenty steps
HALF = 0.5  # the share from which on the paper acts, at tau = 0
SCALE = 2.0  # lambda_0


class ConceptRemoval(NoiseGuidance):
    """The direction 2 max(0, p - share) D over one run. It keeps no state.

    share: the p from which on a concept counts as present. warm_up: progress before which nothing is taken. Both in
    [0, 1]; raises ValueError, naming the input, for others. texts: how many concepts there are.
    """

    unmoved = ""  # a picture that heads for no concept is left as it is

    def __init__(self, share: float = HALF, warm_up: float = WARM_UP, texts: int = 1, strength: float = 1.0) -> None:
        super().__init__(unit_number("warm_up", warm_up), remembers=False, texts=texts, strength=strength)
        self.share = unit_number("share", share)

    def direction(
        self, noise_uncond: torch.Tensor, noise_cond: torch.Tensor, noises: Sequence[torch.Tensor], step: int
    ) -> torch.Tensor:
        """gamma, as noise_cond in shape and dtype, to be taken from noise_cond.

        noise_uncond, noise_cond, noises: e_0, e_p and e_n of each concept, [B, C, ...], in units of noise. step: not
        used. Every picture is for itself. Computed in float32 at least, since squares overflow in half precision.
        """
        precise = torch.promote_types(noise_cond.dtype, torch.float32)
        e_0, e_p = noise_uncond.to(precise), noise_cond.to(precise)
        directions = torch.stack([noise.to(precise) - e_0 for noise in noises])
        shares = torch.stack([share_of(e_p - e_0, direction) for direction in directions])
        present, chosen = shares.max(dim=0)
        pictures = torch.arange(len(e_p), device=e_p.device)
        beyond = (present - self.share).clamp(min=0.0).reshape(-1, *[1] * (e_p.ndim - 1))
        return (SCALE * beyond * directions[chosen, pictures]).to(noise_cond.dtype)


def share_of(towards: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
    """p = <towards, along> / |along|^2 of each picture, [B]; 0 where `along` is zero. Both [B, C, ...]."""
    towards, along = towards.flatten(1), along.flatten(1)
    square = along.square().sum(dim=1)
    return torch.where(square == 0.0, torch.zeros_like(square), (towards * along).sum(dim=1) / square)
