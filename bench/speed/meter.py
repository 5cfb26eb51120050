"""What a run costs: calls and rows of the model, time inside it and beside it, and the most memory at once."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def _nothing() -> None:
    pass


class Meter:
    """While open, counts the calls and rows of a model of the host, and the seconds of a run.

    model: a comfy.model_base.BaseModel; every way to sample ends in its apply_model, also the host's own.
    wait: returns when the device has done what it was given. With `inside` it is asked around every call, so that the
    time of a call is known; without, nothing keeps a GPU from working ahead.
    seconds: from opening to closing. cpu: those that a core spent on this process, summed over cores: what else the
    machine does is not in it. beside: those that a core spent on this thread outside the calls.
    """

    def __init__(self, model: Any, wait: Callable[[], None] = _nothing, inside: bool = True) -> None:
        self.model, self.wait = model, wait
        self.around = wait if inside else _nothing
        self.calls = self.rows = 0
        self.seconds = self.cpu = self.beside = 0.0

    def __enter__(self) -> Meter:
        apply_model = self.model.apply_model

        def metered(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.around()
            start = time.thread_time()
            out = apply_model(x, *args, **kwargs)
            self.around()
            self.beside -= time.thread_time() - start
            self.calls += 1
            self.rows += x.shape[0]
            return out

        self.model.apply_model = metered
        self.wait()
        self._started = time.perf_counter(), time.process_time(), time.thread_time()
        return self

    def __exit__(self, *_: Any) -> None:
        self.wait()
        wall, cpu, thread = self._started
        self.seconds, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.beside += time.thread_time() - thread
        del self.model.apply_model  # the class's own is behind it


class LiveBytes(TorchDispatchMode):
    """While open, follows the bytes of the tensors that operations make, for as long as they live.

    peak: the most at once. Tensors from before do not count, and views of a tensor count once. What an operation needs
    inside itself, and gives back before it ends, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [tensor.untyped_storage() for tensor in _tensors((args, kwargs or {}))]
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            if id(storage) not in self._known and not any(storage is other for other in given):
                self._add(storage)
        return out

    def _add(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: Any) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """The most memory at once that tensors take in a run, beyond what there was before it, in bytes.

    On a GPU its allocator's own count, which also sees what operations need inside themselves.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes() as live:
        run()
    return live.peak
