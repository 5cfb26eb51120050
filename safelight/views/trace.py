"""What safety changed during one sampling run: how much at each call of the model, and in which latent cells.

Collected from predictions that the run makes anyway; no further evaluation of the model. The idea and the measures are
this pack's own.

A guiding node makes one Trace and hands it to the map node; whatever runs the sampler fills it:

    trace.begin()                                   at the start of a run: what an earlier run left is gone
    trace.add(sigma, progress, change, weight)      a call on which both predictions were known
    trace.positive_alone(sigma, progress, denoised)        a call on which the positive prompt stood alone (weight 0)
    trace.safe_alone(sigma, progress, denoised)     a call on which the safe prompt stood alone (weight 1)
    trace.end()                                     after the run, also after one that failed

Predictions are guided ones, after CFG, [B, C, (frames,) h, w]. A trace keeps sums on the CPU and, between begin and end
only, the last two predictions of a prompt alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Call:
    """One call of the model.

    sigma: noise level. progress: in [0, 1], None where it is not known. weight: of the safe branch, None where the
    method has none. sizes: per picture of the batch, root mean square of the change, in latent units of the denoised
    prediction; empty where safety changed nothing, None where the change could not be measured. estimated: whether it
    is measured against the call before, since only one of the two prompts had a prediction on this one.
    """

    sigma: float
    progress: float | None
    weight: float | None
    sizes: tuple[float, ...] | None
    estimated: bool = False


class Trace:
    """calls: those of the last run, in order."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A run starts: forgets the last one."""
        self.calls: list[Call] = []
        self._measured, self._estimated = _Squares(), _Squares()
        self._kept: list[_Alone] = []

    def end(self) -> None:
        """A run is over: drops the predictions that were kept for comparison."""
        self._kept = []

    def add(
        self, sigma: float, progress: float | None, change: torch.Tensor | None, weight: float | None = None
    ) -> None:
        """A call on which safety changed the guided prediction by `change`, weight and strength included.

        change: None where nothing was changed, as in a method's warm-up.
        """
        self._kept = []
        sizes = () if change is None else self._measured.add(_root_mean_square(change.detach().float(), 1))
        self.calls.append(Call(float(sigma), progress, weight, sizes))

    def positive_alone(self, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call that the positive prompt decided alone."""
        self._alone(0.0, sigma, progress, denoised)

    def safe_alone(self, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call that the safe prompt decided alone."""
        self._alone(1.0, sigma, progress, denoised)

    def _alone(self, weight: float, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call of one prompt alone. Where it takes over from the other one, their two predictions are compared.

        What the positive one shows and the safe one does not, less the most that changed around there between the last
        two calls before, which may have changed by itself: a careful estimate, since the noise levels differ. All other
        calls of the safe prompt alone count as not measured.
        """
        kept, prediction = self._kept, denoised.detach().float().clone()
        took_over = bool(kept) and kept[-1].weight != weight
        sizes: tuple[float, ...] | None = None if weight > 0.0 else ()
        estimated = took_over and sigma <= kept[-1].sigma and kept[-1].prediction.shape == prediction.shape
        if estimated:
            last = kept[-1].prediction
            gone = lost_magnitude(last, prediction) if weight > 0.0 else lost_magnitude(prediction, last)
            if len(kept) > 1:
                gone = (gone - max_pool_cells(_root_mean_square(last - kept[-2].prediction, 1))).clamp_min(0.0)
            sizes = self._estimated.add(gone)
        self._kept = [*([] if took_over else kept[-1:]), _Alone(weight, float(sigma), prediction)]
        self.calls.append(Call(float(sigma), progress, weight, sizes, estimated))

    @property
    def estimated(self) -> bool:
        """Whether `cells` is an estimate."""
        return self._measured.total is None and self._estimated.total is not None

    @property
    def pictures(self) -> int:
        """How many pictures the run made; 1 where nothing tells."""
        return max([1, *(len(call.sizes) for call in self.calls if call.sizes)])

    def cells(self) -> torch.Tensor | None:
        """The change of each cell, [B, (frames,) h, w], in latent units; None where the run had none to measure.

        Root mean square over the channels and over the calls that were measured; estimates only where none was.
        """
        squares = self._estimated if self._measured.total is None else self._measured
        return None if squares.total is None else (squares.total / squares.count).sqrt()


class NoTrace(Trace):
    """Keeps nothing: for runs that are not looked into, such as a strip's."""

    def add(
        self, sigma: float, progress: float | None, change: torch.Tensor | None, weight: float | None = None
    ) -> None:
        pass

    def _alone(self, weight: float, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        pass


@dataclass(frozen=True)
class _Alone:
    """A prediction of one prompt alone; weight: 1 for the safe one, 0 for the positive one."""

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
        self.total = squares if self.total is None else self.total + squares
        self.count += 1
        return tuple(squares.flatten(1).mean(dim=1).sqrt().tolist())


def lost_magnitude(before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """How much of what a prediction showed in a cell has gone in another one, [B, ...] for [B, C, ...].

    Each is taken relative to its own background (its median over the cells, per picture and channel). Where `before`
    stands out, the loss is that by which `now` is shorter along the same direction; growth, as of detail, is none.
    """
    before, now = (
        x - x.flatten(2).median(dim=2).values.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) for x in (before, now)
    )
    length = before.square().sum(dim=1).sqrt()
    along = (before * now).sum(dim=1) / length.clamp_min(1e-6)
    return (length - along).clamp_min(0.0) / before.shape[1] ** 0.5


def max_pool_cells(cells: torch.Tensor) -> torch.Tensor:
    """For each cell of [B, ...] the largest value in it and its neighbours."""
    for dim in range(1, cells.ndim):
        lines = cells.movedim(dim, -1)
        cells = F.max_pool1d(lines.reshape(1, -1, lines.shape[-1]), 3, 1, 1).reshape(lines.shape).movedim(-1, dim)
    return cells


def _root_mean_square(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.square().mean(dim=dim).sqrt()
