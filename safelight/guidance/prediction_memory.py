"""Predictions of a model, remembered by call: the same inputs bit for bit get the same answer without an evaluation.

Bounded in bytes. What comes when it is full is not kept: it is the first calls that runs at several levels share.
Tensors are kept on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import torch

LIMIT = 256 * 2**20  # bytes

_Place = tuple[Hashable, tuple[int, ...], torch.dtype, float]


class PredictionMemory:
    """limit: bytes that inputs and answers may take together. full: whether something was not kept."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.size, self.full = limit, 0, False
        self._kept: dict[_Place, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def ask(self, key: Hashable, x: torch.Tensor) -> torch.Tensor | None:
        """The answer to this call, on x's device; None where it is not known.

        key: everything but x that the answer depends on. x is compared bit for bit.
        """
        here = x.detach().cpu()
        for known, answer in self._kept.get(_place(key, here), ()):
            if torch.equal(known, here):
                return answer.to(x.device, copy=True)
        return None

    def keep(self, key: Hashable, x: torch.Tensor, answer: torch.Tensor) -> None:
        """Remembers the answer to a call; not to one of NaN, which is equal to nothing."""
        entry = tuple(each.detach().to("cpu", copy=True) for each in (x, answer))
        place, size = _place(key, entry[0]), sum(each.numel() * each.element_size() for each in entry)
        if not math.isfinite(place[-1]):
            return
        if self.size + size > self.limit:
            self.full = True
            return
        self._kept.setdefault(place, []).append((entry[0], entry[1]))
        self.size += size

    def clear(self) -> None:
        self._kept.clear()
        self.size = 0


def _place(key: Hashable, x: torch.Tensor) -> _Place:
    """The sum narrows the search."""
    return key, tuple(x.shape), x.dtype, float(x.double().sum())
