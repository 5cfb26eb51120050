"""One measurement: a case and what it is compared with, run in turns; calls, rows, time and memory of each."""

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

Wait = Callable[[], None]
at_once = torch.cpu.synchronize  # there is nothing to wait for


def metered(run: Run, model: Any, wait: Wait = at_once, around: Wait = at_once) -> dict[str, float]:
    """The rows and calls of a run's model, and the run's seconds.

    model: a comfy.model_base.BaseModel; every way to sample ends in its apply_model, also the host's own.
    wait: returns when the device has done what it was given. around: asked before and after every call: with `wait` the
    time of a call is known; without, nothing keeps a GPU from working ahead.
    cpu: seconds that cores spent on this process, not on other work. beside: on this thread, outside the calls.
    """
    apply_model = model.apply_model
    clocks = time.perf_counter, time.process_time, time.thread_time
    rows, in_calls = [], []

    def counted(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        around()
        start = time.thread_time()
        out = apply_model(x, *args, **kwargs)
        around()
        in_calls.append(time.thread_time() - start)
        rows.append(x.shape[0])
        return out

    model.apply_model = counted
    try:
        gc.collect()
        wait()
        before = [clock() for clock in clocks]
        run()
        wait()
        wall, cpu, thread = (clock() - start for clock, start in zip(clocks, before, strict=True))
    finally:
        del model.apply_model  # the class's own is behind it
    return {"rows": sum(rows), "calls": len(rows), "seconds": wall, "cpu": cpu, "beside": thread - sum(in_calls)}


def in_turns(pair: tuple[Run, Run], model: Any, repeats: int, *waits: Wait) -> dict[str, list[list[float]]]:
    """What `metered` counts of two runs, in pairs; who goes first changes by turns."""
    pairs = []
    for turn in range(repeats):
        order = -1 if turn % 2 else 1
        pairs.append([metered(run, model, *waits) for run in pair[::order]][::order])
    return {name: [[theirs[name], ours[name]] for theirs, ours in pairs] for name in pairs[0][0]}


class LiveBytes(TorchDispatchMode):
    """While open, follows the bytes of tensors that operations make, for as long as they live; peak: the most at once.

    Tensors from before do not count, and views of a tensor count once. What an operation needs inside itself, and gives
    back before it ends, is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _storages((args, kwargs))
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out) - given:
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


def _storages(value: Any) -> set[Any]:
    return {leaf.untyped_storage() for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)}


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most memory at once that tensors take in a run, beyond what there was before it, in bytes.

    On a GPU its allocator's own count, which also sees what operations need inside themselves.
    """
    if device.type != "cuda":
        with LiveBytes() as live:
            run()
        return live.peak
    run()  # so that the weights are on the device, and are not taken for the run's own
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def record(
    store: Store, case: Case, load: Callable[[], Job], settings: dict[str, Any], device: torch.device
) -> dict[str, Any]:
    """The figures of a case, measured where the store does not have them; only then a model is loaded.

    settings: size, batch, steps, cells, repeats, device, dtype.
    """
    described = {"case": case.name, "against": case.against, **settings}
    key = json.dumps(described)
    if key in store:
        return store[key]
    job = load().asked(settings["batch"], settings["steps"], settings["cells"])
    model, repeats, wait = job.inputs["model"].model, settings["repeats"], getattr(torch, device.type).synchronize
    with torch.inference_mode():
        pair = AGAINST[case.against](job), case.make(job)
        peak = [peak_bytes(run, device) for run in pair]  # the warm-up as well
        figures = in_turns(pair, model, repeats, wait)
        if device.type != "cpu":
            figures["beside"] = in_turns(pair, model, repeats, wait, wait)["beside"]
    figures |= {name: figures[name][0] for name in ("rows", "calls")}  # the same in every turn
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    store[key] = {**described, **figures, "peak": peak, "load": load_average}
    return store[key]
