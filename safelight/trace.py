"""What safety changed during one sampling run: how much at each call of the model, and in which latent cells.

Collected from predictions that the run makes anyway; no further evaluation of the model. The idea and the measures are
this pack's own.

A guiding node makes one Trace and hands it to the map node; whatever runs the sampler fills it:

    trace.begin()                                   at the start of a run: what an earlier run left is gone
    trace.add(sigma, progress, change, weight)      a call on which both predictions were known
    trace.written(sigma, progress, denoised)        a call on which the prompt as written stood alone (weight 0)
    trace.safe_alone(sigma, progress, denoised)     a call on which the safe prompt stood alone (weight 1)
    trace.end()                                     after the run, also after one that failed

A trace keeps sums on the CPU and, between begin and end only, the last prediction of the written prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Call:
    """One call of the model.

    sigma: noise level. progress: in [0, 1], None where it is not known. weight: of the safe branch, None where the
    method has none. sizes: per picture of the batch, root mean square of the change, in latent units of the denoised
    prediction; empty where safety changed nothing, None where the change could not be measured. compared: whether it is
    measured against an earlier prediction, since the written prompt had none of its own on this call.
    """

    sigma: float
    progress: float | None
    weight: float | None
    sizes: tuple[float, ...] | None
    compared: bool = False


class Trace:
    """calls: those of the last run, in order. Predictions are guided ones, after CFG, shaped [B, C, (frames,) h, w]."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._total: torch.Tensor | None = None
        self._measured = 0
        self._written: torch.Tensor | None = None

    def begin(self) -> None:
        """A run starts: forgets the last one."""
        self.__init__()  # type: ignore[misc]

    def end(self) -> None:
        """A run is over: drops the prediction that was kept for comparison."""
        self._written = None

    def add(self, sigma: float, progress: float | None, change: torch.Tensor | None,
            weight: float | None = None) -> None:  # fmt: skip
        """A call on which safety changed the guided prediction by `change`, weight and strength included.

        change: None where nothing was changed, as in a method's warm-up.
        """
        self._note(sigma, progress, weight, change)

    def written(self, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call that the prompt as written decided alone. denoised: its guided prediction."""
        self._written = denoised.detach().clone()
        self._note(sigma, progress, 0.0, None)

    def safe_alone(self, sigma: float, progress: float | None, denoised: torch.Tensor) -> None:
        """A call that the safe prompt decided alone: compared with the last prediction of the written prompt.

        An approximation: that prediction is of an earlier noise level. Without one the change is unknown.
        """
        if self._written is None or self._written.shape != denoised.shape:
            self.calls.append(Call(float(sigma), progress, 1.0, None))
            return
        self._note(sigma, progress, 1.0, denoised.detach() - self._written.to(denoised), compared=True)

    def cells(self) -> torch.Tensor | None:
        """The change of each cell, [B, (frames,) h, w]; None where no call of the run changed anything measurable."""
        return None if self._total is None else self._total / self._measured

    def _note(self, sigma: float, progress: float | None, weight: float | None, change: torch.Tensor | None,
              compared: bool = False) -> None:  # fmt: skip
        sizes: tuple[float, ...] = ()
        if change is not None:
            squares = change.detach().float().square()
            sizes = tuple(squares.mean(dim=tuple(range(1, squares.ndim))).sqrt().tolist())
            cells = squares.mean(dim=1).sqrt().cpu()
            self._total = cells if self._total is None else self._total + cells
            self._measured += 1
        self.calls.append(Call(float(sigma), progress, weight, sizes, compared))
