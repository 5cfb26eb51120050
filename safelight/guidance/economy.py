"""Fewer evaluations for the blend of two prompts: one of them on each call, the other one from memory.

This pack's own. With D_c the denoised prediction under a conditioning c and D_0 the negative's, the guidance direction
in noise units (D_c - D_0) / sigma changes slowly along a run. So it is kept for both prompts, and of the two

    D_c = D_0 + sigma d_c

only one is evaluated on a call; it corrects its own direction fully, and the other one by a share of the same
correction, since much of what changes between two calls is in both. Which one: error diffusion of the weight, so that
the safe prompt is evaluated on as large a share of the calls as it has weight, evenly spread. The first calls of a run
evaluate both: there the directions change most. Without a negative (CFG 1), the noise itself takes its place.
"""

from __future__ import annotations

import torch

from safelight.guidance.blend import POSITIVE, SAFE

OFF = "off"
# Rows of model evaluation beyond a stock run's, as a part of those; they go to the first guided calls.
ALLOWED = {"balanced": 0.1, "free": 0.05}
MODES = (OFF, *ALLOWED)
# What the other prompt's direction takes of a correction: with the negative's prediction, and without. Without it the
# two directions also hold what the picture itself changes by, and that is in both.
SHARE, SHARE_ALONE = 0.5, 0.75

BOTH = (POSITIVE, SAFE)


class Memory:
    """The two prompts' guidance directions over one run.

    allowed: rows beyond a stock run's, as a part of those; one is always taken. steps: of the run. On each call of the
    model that both prompts have a part in: `select` says what to evaluate, then `store` (for BOTH) or `reconstruct`
    takes the predictions.
    """

    def __init__(self, allowed: float, steps: int) -> None:
        self._allowed = allowed * steps
        self._calls = 0
        self._due = 0.0
        self._kind: tuple[bool, object] = False, None
        self._sigma = 0.0
        self._cond: torch.Tensor | None = None  # of the positive prompt
        self._safe: torch.Tensor | None = None

    def select(self, weight: float, has_uncond: bool, kind: object = None) -> tuple[str, ...]:
        """The prompts to evaluate on a call with this weight of the safe one: BOTH, or one of them.

        has_uncond: whether the negative is evaluated too. kind: what the directions depend on; where it is another one
        than on the call before, nothing that is known holds any more.
        """
        self._calls += 1
        known = self._safe is not None and (has_uncond, kind) == self._kind
        self._kind = has_uncond, kind
        if not known or self._calls <= self._allowed * (2 if has_uncond else 1) + 1e-9:
            return BOTH
        self._due += weight
        if self._due < 0.5:
            return (POSITIVE,)
        self._due -= 1.0
        return (SAFE,)

    def store(self, denoised_cond: torch.Tensor, denoised_safe: torch.Tensor, base: torch.Tensor, sigma: float) -> None:
        """Both predictions [B, C, ...] at noise level sigma; base: the negative's, or the noisy latent without one."""
        self._cond, self._safe, self._sigma = denoised_cond - base, denoised_safe - base, sigma

    def reconstruct(
        self, evaluated: str, denoised: torch.Tensor, base: torch.Tensor, sigma: float, has_uncond: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The positive and the safe prompt's prediction, where `denoised` is that of the `evaluated` one.

        base: as for store. has_uncond: whether that is the negative's prediction.
        """
        share = SHARE if has_uncond else SHARE_ALONE
        assert self._cond is not None and self._safe is not None
        scale = sigma / self._sigma
        cond, safe = self._cond * scale, self._safe * scale
        correction = denoised - base - (safe if evaluated == SAFE else cond)
        if evaluated == SAFE:
            cond, safe = cond + share * correction, denoised - base
        else:
            cond, safe = denoised - base, safe + share * correction
        self._cond, self._safe, self._sigma = cond, safe, sigma
        return (base + cond, denoised) if evaluated == SAFE else (denoised, base + safe)

    def invalidate(self) -> None:
        """A call in between was one prompt's alone: what is known is out of date."""
        self._cond = self._safe = None
