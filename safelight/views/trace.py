"""What safety changed during one sampling run: how much at each call of the model, and in which latent cells.

It is collected from predictions that the run makes anyway, at no extra evaluation of the model. The idea and the
measures are ours.

A guiding node makes one Trace and passes it to the map node. Whatever runs the sampler fills it:

    trace.begin()                                       at the start of a run; clears an earlier run
    trace.add(sigma, progress, change, weight)          a call with both predictions
    trace.positive_alone(sigma, progress, denoised)     a call with the positive prompt alone (weight 0)
    trace.safe_alone(sigma, progress, denoised)         a call with the safe prompt alone
    trace.end()                                         after the run, also if it failed

Predictions are guided ones, after CFG, [B, C, (frames,) h, w]. A trace holds sums on the CPU and, only between begin
and end, the last two predictions of a prompt alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Call:
    """One call of the model.

    sigma: noise level. progress: in [0, 1], None where it is not known. weight: of the safe branch, None where the
    method has none. sizes: for each picture of the batch, the root mean square of the change in latent units of the
    denoised prediction; empty where safety changed nothing, None where the change could not be measured. estimated:
    whether the change is measured against the previous call, because only one of the prompts had a prediction.
    """

    sigma: float
    progress: float | None
    weight: float | None
    sizes: tuple[float, ...] | None
    estimated: bool = False


class Trace:
    """calls: all calls of the last run, in order."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Starts a run and clears the last one."""
        self.calls: list[Call] = []
        self._measured, self._estimated = _Squares(), _Squares()
        self._previous: list[_Alone] = []

    def end(self) -> None:
        """Ends a run and drops the predictions that were held for comparison."""
        self._previous = []

    def add(
        self, sigma: float, progress: float | None, change: torch.Tensor | None, weight: float | None = None
    ) -> None:
        """A call on which safety changed the guided prediction by `change`, weight and strength included.

        change: None where nothing changed, as in a method's warm-up.
        """
        self._previous = []
        sizes = () if change is None else self._measured.add(_root_mean_square(change.detach().float(), 1))
        self.calls.append(Call(float(sigma), progress, weight, sizes))

    def positive_alone(self, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call with the positive prompt alone."""
        self._alone(0.0, sigma, progress, denoised)

    def safe_alone(self, sigma: float, progress: float | None, denoised: torch.Tensor, weight: float = 1.0) -> None:
        """A call with the safe prompt alone. weight: less where both act within one prediction, so that there is no
        second one to measure by."""
        self._alone(weight, sigma, progress, denoised)

    def _alone(self, weight: float, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call with one prompt alone. Where it takes over from the other prompt, their two predictions are compared.

        The change is what the positive prediction shows and the safe one does not. As the noise levels differ, this is
        a cautious estimate: it is reduced by the largest change around each cell between the two calls before, since
        that much may have changed by itself. All other calls with the safe prompt alone count as not measured.
        """
        previous, prediction = self._previous, denoised.detach().float().clone()
        took_over = bool(previous) and (previous[-1].weight > 0.0) != (weight > 0.0)
        sizes: tuple[float, ...] | None = None if weight > 0.0 else ()
        estimated = took_over and sigma <= previous[-1].sigma and previous[-1].prediction.shape == prediction.shape
        if estimated:
            last = previous[-1].prediction
            gone = lost_magnitude(last, prediction) if weight > 0.0 else lost_magnitude(prediction, last)
            if len(previous) > 1:
                gone = (gone - max_pool_cells(_root_mean_square(last - previous[-2].prediction, 1))).clamp_min(0.0)
            sizes = self._estimated.add(gone)
        self._previous = [*([] if took_over else previous[-1:]), _Alone(weight, float(sigma), prediction)]
        self.calls.append(Call(float(sigma), progress, weight, sizes, estimated))

    def take(self, other: Trace, pictures: Sequence[int]) -> None:
        """The calls are those of another run of the same batch, and so is the change of these pictures."""
        self.calls = other.calls
        self._measured.take(other._measured, pictures)
        self._estimated.take(other._estimated, pictures)

    @property
    def estimated(self) -> bool:
        """Whether `cells` is an estimate."""
        return self._measured.total is None and self._estimated.total is not None

    @property
    def pictures(self) -> int:
        """How many pictures the run made; 1 where that is not known."""
        return max([1, *(len(call.sizes) for call in self.calls if call.sizes)])

    def cells(self) -> torch.Tensor | None:
        """The change of each cell, [B, (frames,) h, w], in latent units; None where nothing was measured.

        It is the root mean square over the channels and over all measured calls, or over the estimates where no call
        was measured.
        """
        squares = self._estimated if self._measured.total is None else self._measured
        return None if squares.total is None else (squares.total / squares.count).sqrt()


class NoTrace(Trace):
    """Records nothing: for runs that nobody traces, such as a strip's."""

    def add(
        self, sigma: float, progress: float | None, change: torch.Tensor | None, weight: float | None = None
    ) -> None:
        pass

    def _alone(self, weight: float, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        pass


@dataclass(frozen=True)
class _Alone:
    """A prediction of one prompt alone; weight: above 0 for the safe one, 0 for the positive one."""

    weight: float
    sigma: float
    prediction: torch.Tensor


class _Squares:
    """The sum of the squares of maps, on the CPU."""

    def __init__(self) -> None:
        self.total: torch.Tensor | None = None
        self.count = 0

    def add(self, cells: torch.Tensor) -> tuple[float, ...]:
        """cells: [B, ...]. Returns the root mean square of each picture."""
        squares = cells.square().cpu()
        if self.total is not None and self.total.shape != squares.shape:
            self._fit(squares.shape)
        self.total = squares if self.total is None else self.total + squares
        self.count += 1
        return tuple(squares.flatten(1).mean(dim=1).sqrt().tolist())

    def take(self, other: _Squares, pictures: Sequence[int]) -> None:
        """The squares of these pictures are another's, none where it has none."""
        if other.total is not None and (self.total is None or self.total.shape != other.total.shape):
            self.total, self.count = torch.zeros_like(other.total), 1
        if self.total is None:
            return
        for i in pictures:
            self.total[i] = 0.0 if other.total is None else other.total[i] * (self.count / other.count)
        if other.total is None and not bool(self.total.any()):
            self.total, self.count = None, 0

    def _fit(self, shape: torch.Size) -> None:
        """Brings the sum to another size, as of a sampler that enlarges the latents; another batch is another sum."""
        assert self.total is not None
        if len(self.total) == shape[0] and self.total.ndim == len(shape) > 1:
            self.total = F.interpolate(self.total[:, None], size=shape[1:])[:, 0]
        else:
            self.total, self.count = None, 0


def lost_magnitude(before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """How much of what `before` shows in a cell is gone in `now`, [B, ...] for predictions [B, C, ...].

    Both are taken relative to their background, the median over the cells of each picture and channel. The loss is how
    much shorter `now` is along the direction of `before`. Growth, as of detail, counts as no loss.
    """
    before, now = (
        x - x.flatten(2).median(dim=2).values.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) for x in (before, now)
    )
    length = before.square().sum(dim=1).sqrt()
    along = (before * now).sum(dim=1) / length.clamp_min(1e-6)
    return (length - along).clamp_min(0.0) / before.shape[1] ** 0.5


def max_pool_cells(cells: torch.Tensor) -> torch.Tensor:
    """For each cell of [B, ...] the largest value among it and its neighbouring cells."""
    for dim in range(1, cells.ndim):
        lines = cells.movedim(dim, -1)
        cells = F.max_pool1d(lines.reshape(1, -1, lines.shape[-1]), 3, 1, 1).reshape(lines.shape).movedim(-1, dim)
    return cells


def _root_mean_square(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.square().mean(dim=dim).sqrt()
