"""One measurement: a case and what it is compared with, run in turns.

The record is kept in a file of its own, and read from there where it is: a stopped benchmark goes on where it was.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.studio import ROOT

from .cases import AGAINST, Case, Job, Run
from .meter import Meter, peak_bytes

_CODE = ("nodes/*.py", "safelight/*.py", "bench/speed/*.py", "bench/studio.py", "demo/weights/model.safetensors")


def fingerprint(root: Path = ROOT) -> str:
    """Of all that a record depends on, beside its own settings and the machine."""
    digest = hashlib.sha256()
    for pattern in _CODE:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def waiter(device: torch.device) -> Callable[[], None]:
    """Returns when the device has done what it was given."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def in_turns(theirs: Run, ours: Run, model: Any, repeats: int, wait: Callable[[], None],
             inside: bool = True) -> dict[str, list[list[float]]]:  # fmt: skip
    """Pairs (theirs, ours) of a Meter's "seconds", "cpu" and "beside"; who goes first changes by turns."""
    taken: dict[str, list[list[float]]] = {"seconds": [], "cpu": [], "beside": []}
    for turn in range(repeats):
        pair: list[Any] = [None, None]
        for who in (0, 1) if turn % 2 == 0 else (1, 0):
            gc.collect()
            with Meter(model, wait, inside) as pair[who]:
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
    """Makes records and keeps them in `cache`. counts: of what cases are compared with, by its settings."""

    def __init__(self, cache: Path, device: torch.device) -> None:
        self.cache, self.device = cache, device
        self.counts: dict[tuple[Any, ...], tuple[int, int, int]] = {}
        cache.mkdir(parents=True, exist_ok=True)

    def record(self, size: str, case: Case, job: Callable[[], Job], settings: dict[str, Any]) -> dict[str, Any]:
        """settings: batch, steps, cells, repeats, dtype. job: made only where the record is not there yet."""
        described = {"size": size, "case": case.name, "against": case.against, **settings}
        path = self.cache / f"{hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]}.json"
        if path.exists():
            return json.loads(path.read_text("utf-8"))
        record = {**described, **self._measured(size, case, job(), settings)}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(record), encoding="utf-8")
        unfinished.replace(path)
        return record

    def _measured(self, size: str, case: Case, job: Job, settings: dict[str, Any]) -> dict[str, Any]:
        model, wait, repeats = job.subject.model.model, waiter(self.device), settings["repeats"]
        with torch.inference_mode():
            theirs, ours = AGAINST[case.against](job), case.make(job)
            key = (size, case.against, settings["batch"], settings["steps"], settings["cells"])
            if key not in self.counts:
                self.counts[key] = counted(theirs, model, self.device)
            # These runs are the warm-up as well.
            counts = self.counts[key], counted(ours, model, self.device)
            taken = in_turns(theirs, ours, model, repeats, wait, inside=self.device.type == "cpu")
            if self.device.type != "cpu":
                taken["beside"] = in_turns(theirs, ours, model, repeats, wait)["beside"]
        rows, calls, peak = ([count[i] for count in counts] for i in range(3))
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        return {"rows": rows, "calls": calls, "peak": peak, **taken, "load": load}
