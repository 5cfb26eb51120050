"""Answers of a model, remembered by call, over runs. Bounded in bytes, on the CPU.

Runs of one picture at several levels share their first calls and no later one. So where there is no room, the run that
was used least recently gives way, from its last call back to its first; and a run that alone fills the memory keeps its
first calls. A call that a later run has used is that run's.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

LIMIT = 256 * 2**20  # bytes


@dataclass(eq=False)
class _Run:
    owner: Hashable
    answers: dict[bytes, torch.Tensor] = field(default_factory=dict)  # in the order of the calls


class PredictionMemory:
    """limit: bytes that answers may take together. size: that they take."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.size = limit, 0
        # An owner may end at any moment and in any thread, as the garbage collector finds it.
        self._lock = threading.RLock()
        self._runs: list[_Run] = []  # the least recent first
        self._run_of: dict[bytes, _Run] = {}

    def begin(self, owner: Hashable) -> None:
        """What is asked and kept from now on is a new run's. owner: what its answers are to be forgotten with."""
        with self._lock:
            self._runs = [*(run for run in self._runs if run.answers), _Run(owner)]

    def ask(self, key: bytes) -> torch.Tensor | None:
        """The answer to this call, on the CPU and not to be changed; None where it is not known.

        key: stands for everything that the answer depends on.
        """
        with self._lock:
            run = self._run_of.get(key)
            if run is None:
                return None
            answer = run.answers.pop(key)
            self._runs[-1].answers[key] = answer
            self._run_of[key] = self._runs[-1]
            return answer

    def keep(self, key: bytes, answer: torch.Tensor) -> bool:
        """Remembers the answer to a call that is not known; False where there is no room for it."""
        answer = answer.detach().to("cpu", copy=True)
        size = _bytes(answer)
        with self._lock:
            *others, latest = self._runs
            for run in others:
                for last in reversed(list(run.answers)):
                    if self.size + size > self.limit:
                        self._drop(run, last)
            if self.size + size > self.limit:
                return False
            latest.answers[key] = answer
            self._run_of[key] = latest
            self.size += size
            return True

    def forget(self, owner: Hashable) -> None:
        """Drops the answers of the owner's runs."""
        with self._lock:
            for run in self._runs:
                for key in list(run.answers) if run.owner == owner else ():
                    self._drop(run, key)

    def _drop(self, run: _Run, key: bytes) -> None:
        answer = run.answers.pop(key, None)
        if answer is not None:  # else its owner ended just now, while this thread was about to drop it
            del self._run_of[key]
            size = _bytes(answer)
            self.size -= size


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
