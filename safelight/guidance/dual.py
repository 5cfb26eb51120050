"""The dual blend: the positive and the safe prompt on every step, mixed by the schedule's weight.

    D = CFG(negative, (1 - w) D(positive) + w D(safe), cfg)

A reconstruction from the abstract of arXiv 2411.13982; the choices are this pack's own. At w = 0 and w = 1 the host
predicts with the one conditioning, so that rows, indices and bits are a stock run's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from safelight.guidance.blend import LEAST_WEIGHT, cover
from safelight.guidance.economy import ALLOWED, BOTH, OFF, Memory
from safelight.guidance.mask import check_whole, fit_mask
from safelight.guidance.method import NEGATIVE, POSITIVE, SAFE, GuidanceMethod, Guided, Needs, Step
from safelight.guidance.settings import GuidanceSettings

NOT_ADAPTIVE = "adaptive: a call without the negative prompt (cfg 1, or its timestep range) was not scaled."


class DualBlend(GuidanceMethod):
    """The blend over one run."""

    conds: tuple[str, ...] = (SAFE,)
    must_reach = SAFE
    pairs_uncond = True
    rounding = 2e-7  # of a blend of two equal predictions in float32
    unguided = (
        "safe: it never steered in this run (its timestep range, a cache of another node or the sampler left out every "
        "guarded step), so the picture is not guarded. Lower the schedule's context, or use more steps."
    )
    unreached = (
        "safe: expected a timestep range with a guarded step in it, got one that leaves out all of them, so nothing "
        "would be guarded. Widen the range, lower the schedule's context, or raise safety."
    )

    unmoved = (
        "safe: it predicted what the prompt as written does at every guarded step, so nothing was guarded. The two may "
        "be the same words, or words go along by another way (a second text, a hook, a patch). Write another safe "
        "prompt, or set safety to 0."
    )
    nowhere = (
        "safe: expected a mask or area with cells of this picture in it, got an empty one, so nothing would be "
        "guarded. Paint its mask, or raise its strength."
    )
    masked_away = (
        "mask: expected a painted area inside the areas and masks of safe, got none there, or one too faint for the "
        "schedule's weight, so nothing would be guarded. Paint it there, or raise safety."
    )

    def __init__(self, settings: GuidanceSettings) -> None:
        self._settings = settings
        self._memory: Memory | None = None
        self._mask: torch.Tensor | None = None
        self._fitted_to: torch.Size | None = None

    def settings(self, start: Callable[[], float]) -> GuidanceSettings:
        return self._settings

    def begin(self, steps: int) -> None:
        economy = self._settings.economy
        self._memory = None if economy == OFF else Memory(ALLOWED[economy], steps)

    def only(self, constant: Callable[[], float | None], ends_in_picture: bool) -> str | None:
        weight = constant()
        if weight == 0.0 and ends_in_picture:
            raise ValueError(
                "curve: expected a weight above 0 on some step of this run, got 0 on all of them, so nothing would be "
                "guarded. Raise the curve there, or set safety to 0 for this run."
            )
        return None if weight is None else {0.0: POSITIVE, 1.0: SAFE}[weight]

    def why_nowhere(self, x: torch.Tensor, reach: torch.Tensor | None, weight: float) -> str:
        if reach is not None and not bool(reach.any()):
            return self.nowhere
        mask = self.fitted_mask(x)
        if mask is None:
            return ""
        acting = weight * mask if reach is None else weight * mask * reach[:, :1]
        return "" if bool((acting >= LEAST_WEIGHT).any()) else self.masked_away

    def needs(self, step: Step) -> Needs:
        needs = self._choose(step)
        if needs.alone and self._memory is not None:
            self._memory.invalidate()
        return needs

    def _choose(self, step: Step) -> Needs:
        positive_alone, safe_alone = Needs((POSITIVE,), alone=True), Needs((SAFE,), alone=True)
        if step.weight == 0.0 or SAFE not in step.active:
            return positive_alone
        if POSITIVE not in step.active:
            return safe_alone
        reach_cond, reach_safe = step.reach(POSITIVE), step.reach(SAFE)
        local = self.fitted_mask(step.x) is not None or self._settings.selective is not None
        if step.weight == 1.0 and not local and not covers_more(reach_cond, reach_safe):
            return safe_alone
        if self._memory is None:
            return Needs(BOTH)
        partly = local or reach_cond is not None or reach_safe is not None
        # Where the safe prompt steers in a part only, the other part is the positive one's alone.
        weight = step.weight / (1.0 + step.weight) if partly else step.weight
        return Needs(self._memory.select(weight, step.uncond, (step.x.shape, step.active_entries())))

    def combine(self, step: Step, denoised: dict[str, torch.Tensor]) -> Guided:
        denoised = self.complete(step, denoised)
        denoised_cond, denoised_safe = denoised[POSITIVE], denoised[SAFE]
        reach_cond, reach_safe = step.reach(POSITIVE), step.reach(SAFE)
        mask, selective, note = self.fitted_mask(step.x), self._settings.selective, ""
        if selective is not None:
            uncond = denoised[NEGATIVE] if step.uncond else None
            note = NOT_ADAPTIVE if uncond is None and selective.adaptive else ""
            cells = allowed_cells(step.x, mask, reach_cond, reach_safe)
            chosen = selective.weights(denoised_cond, denoised_safe, uncond, cells)
            mask = chosen if mask is None else chosen * mask
        weight = step.weight if mask is None else step.weight * mask
        blended = cover(denoised_cond, denoised_safe, reach_cond, reach_safe, weight)
        return Guided(blended, denoised_cond, SAFE if step.weight >= 0.5 else POSITIVE, note)

    def complete(self, step: Step, denoised: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """With both prompts' predictions."""
        return denoised if self._memory is None else remembered(self._memory, step, denoised)

    def fitted_mask(self, x: torch.Tensor) -> torch.Tensor | None:
        """The artist's mask, one value per latent cell of x. Raises ValueError where x is a part of a picture."""
        mask = self._settings.mask
        if mask is None:
            return None
        if self._mask is None or self._fitted_to != x.shape:
            if self.shape is not None and x.ndim == len(self.shape):
                check_whole(mask, x, self.shape)
            self._mask, self._fitted_to = fit_mask(mask, x), x.shape
        return self._mask


def remembered(memory: Memory, step: Step, denoised: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With both prompts' predictions, the one that was not evaluated from memory."""
    base, sigma = denoised[NEGATIVE] if step.uncond else step.x, float(step.sigma[0])
    if POSITIVE in denoised and SAFE in denoised:
        memory.store(denoised[POSITIVE], denoised[SAFE], base, sigma)
        return denoised
    evaluated = SAFE if SAFE in denoised else POSITIVE
    both = memory.reconstruct(evaluated, denoised[evaluated], base, sigma, step.uncond)
    return {**denoised, **dict(zip(BOTH, both, strict=True))}


def allowed_cells(x: torch.Tensor, mask: torch.Tensor | None, *reaches: torch.Tensor | None) -> torch.Tensor | None:
    """The cells that every conditioning reaches and the artist's mask lets through, [B, 1, ...]; None for all of them.

    mask: as fit_mask gives it. reaches: boolean, shaped as x.
    """
    parts = [part for part in (None if mask is None else mask > 0, *reaches) if part is not None]
    allowed = torch.ones((x.shape[0], 1, *x.shape[2:]), dtype=torch.bool, device=x.device)
    for part in parts:
        allowed = allowed & part[:, :1]
    return allowed if parts else None


def covers_more(reach: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether a cell lies in `reach` and not in `other`; None is all cells."""
    if other is None:
        return False
    return bool((~other if reach is None else reach & ~other).any())
