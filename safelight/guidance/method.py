"""What a guidance method is: the predictions that it needs on a call of the model, and what it makes of them.

One file per method in this folder. The driver (safelight/engine/method_run.py) evaluates the predictions in one batched
call, applies classifier-free guidance and the host's hooks to the result, and keeps the record and the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from safelight.guidance.blend import NEGATIVE, POSITIVE, SAFE
from safelight.guidance.settings import GuidanceSettings

# An empty text, which stands for the negative where a method needs one and the guider has none.
EMPTY = "safelight empty"

__all__ = ["EMPTY", "NEGATIVE", "POSITIVE", "SAFE", "GuidanceMethod", "Guided", "Needs", "Step"]


@dataclass(frozen=True)
class Step:
    """One call of the model.

    x: noisy latents [B, C, ...]. sigma: noise level, [B]. weight: the schedule's weight times the method's strength.
    index: of the sampling step that the call lies in.
    active: the conditionings that take part at this noise level.
    uncond: whether the negative prompt takes part (not at cfg 1, nor outside its timestep range).
    reach: the cells that a conditioning's areas and masks cover, boolean, shaped as x; None for all of them.
    active_entries: changes where other entries of the conditionings take part.
    """

    x: torch.Tensor
    sigma: torch.Tensor
    weight: float
    index: int
    active: frozenset[str]
    uncond: bool
    reach: Callable[[str], torch.Tensor | None]
    active_entries: Callable[[], Hashable]


@dataclass(frozen=True)
class Needs:
    """The conditionings to predict with, the negative not counted unless it is named.

    alone: the host's own guided prediction under the one that is named is the result.
    """

    conds: tuple[str, ...]
    alone: bool = False


@dataclass(frozen=True)
class Guided:
    """cond: the prediction in the positive one's place, before CFG. positive: the positive one. shown: the
    conditioning that hooks are told `cond` belongs to. note: for the artist, once a run."""

    cond: torch.Tensor
    positive: torch.Tensor
    shown: str = POSITIVE
    note: str = ""


class GuidanceMethod:
    """A method over one run; a new object per run.

    strength: multiplies the schedule's weight. conds: its conditionings beside positive and negative.
    must_reach: the one of them that has to take part on a guarded step, checked before the first.
    start_name: the method's word for the schedule's start, for notes.
    pairs_uncond: whether the negative stands opposite the entries of all conditionings, or of the positive one alone.
    replaces_negative: the conditioning that takes the linked negative's place.
    rounding: as a share of the prediction, the change that comes of rounding alone.
    shape: of the latents that the run begins with, [B, C, ...], where that is known.
    """

    strength: float = 1.0
    conds: tuple[str, ...] = ()
    must_reach: str | None = None
    start_name: str = "context"
    pairs_uncond: bool = False
    replaces_negative: str | None = None
    rounding: float = 0.0
    shape: torch.Size | None = None
    unguided = ""  # the error where a picture came out of a run that had to be guided and was not
    unreached = ""  # the error where `must_reach` would not take part
    unmoved = ""  # the error where the guided calls changed nothing in any picture

    def settings(self, start: Callable[[], float]) -> GuidanceSettings:
        """What the run's weight follows. start: gives the run's progress at its first step."""
        raise NotImplementedError

    def begin(self, steps: int) -> None:
        """A run of that many steps starts."""

    def only(self, constant: Callable[[], float | None], ends_in_picture: bool) -> str | None:
        """The one conditioning that decides every call, else None.

        constant: gives 0 or 1 where every call has that weight, else None.
        """
        return None

    def check_uncond(self, applies: bool) -> None:
        """Raises ValueError where the method guards nothing without the negative prompt."""

    def why_nowhere(self, x: torch.Tensor, reach: torch.Tensor | None, weight: float) -> str:
        """The error where `must_reach` would act in no cell of x; empty where it acts.

        reach: the cells that it covers, as in Step. weight: the schedule's.
        """
        return ""

    def needs(self, step: Step) -> Needs:
        raise NotImplementedError

    def combine(self, step: Step, denoised: dict[str, torch.Tensor]) -> Guided:
        """denoised: predictions [B, C, ...] under what `needs` asked for, and under the negative (zeros without)."""
        raise NotImplementedError
