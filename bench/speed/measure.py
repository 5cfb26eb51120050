"""One measurement: a case and what it is compared with, run in turns; calls, rows, time and memory of each.

The record is kept, and read where it is there: a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import gc
import json
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.store import Store

from .cases import AGAINST, Case, Job, Run


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
        given = _storages((args, kwargs))
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
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


def _storages(value: Any) -> list[Any]:
    return [leaf.untyped_storage() for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most memory at once that tensors take in a run, beyond what there was before it, in bytes.

    On a GPU its allocator's own count, which also sees what operations need inside themselves.
    """
    if device.type != "cuda":
        with LiveBytes() as live:
            run()
        return live.peak
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def in_turns(
    theirs: Run, ours: Run, model: Any, repeats: int, wait: Callable[[], None] = _nothing, inside: bool = True
) -> dict[str, list[list[float]]]:
    """Pairs (theirs, ours) of a Meter's "seconds", "cpu" and "beside"; who goes first changes by turns."""
    taken: dict[str, list[list[float]]] = {"seconds": [], "cpu": [], "beside": []}
    for turn in range(repeats):
        pair = [Meter(model, wait, inside) for _ in range(2)]
        for who in (0, 1) if turn % 2 == 0 else (1, 0):
            gc.collect()
            with pair[who]:
                (theirs, ours)[who]()
        for name, values in taken.items():
            values.append([round(getattr(meter, name), 6) for meter in pair])
    return taken


def counted(run: Run, model: Any, device: torch.device) -> tuple[int, int, int]:
    """Rows and calls of the model in a run, and the most bytes that its tensors take."""
    if device.type != "cpu":
        run()  # so that the weights are on the device, and are not taken for the run's own
    with Meter(model) as meter:
        peak = peak_bytes(run, device)
    return meter.rows, meter.calls, peak


class Measuring:
    """Makes records and keeps them in a store. mark: of the code that is measured. counts: of what cases are compared
    with, by its settings."""

    def __init__(self, store: Store, mark: str, device: torch.device) -> None:
        self.store, self.mark, self.device = store, mark, device
        self.counts: dict[str, tuple[int, int, int]] = {}

    def record(self, size: str, case: Case, job: Job, settings: dict[str, Any]) -> dict[str, Any]:
        """settings: batch, steps, cells, repeats, device, dtype. A model is loaded only for a missing record."""
        described = {"size": size, "case": case.name, "against": case.against, **settings}
        key = json.dumps([self.mark, described])
        if key not in self.store:
            shared = json.dumps([size, case.against, settings])
            self.store[key] = {**described, **self._measured(shared, case, job, settings["repeats"])}
        return self.store[key]

    def _measured(self, shared: str, case: Case, job: Job, repeats: int) -> dict[str, Any]:
        model, on_cpu = job.subject.model.model, self.device.type == "cpu"
        wait = _nothing if on_cpu else lambda: torch.cuda.synchronize(self.device)
        with torch.inference_mode():
            theirs, ours = AGAINST[case.against](job), case.make(job)
            if shared not in self.counts:
                self.counts[shared] = counted(theirs, model, self.device)
            # These runs are the warm-up as well.
            counts = self.counts[shared], counted(ours, model, self.device)
            taken = in_turns(theirs, ours, model, repeats, wait, inside=on_cpu)
            if not on_cpu:
                taken["beside"] = in_turns(theirs, ours, model, repeats, wait)["beside"]
        rows, calls, peak = ([count[i] for count in counts] for i in range(3))
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return {"rows": rows, "calls": calls, "peak": peak, **taken, "load": load}
