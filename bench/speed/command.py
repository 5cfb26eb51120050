"""The command: what is measured at which size, and the files of the results."""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench import evidence
from bench.command import CACHE, RESULTS
from bench.demo_session import DemoSession, arguments
from bench.store import Store

from . import report
from .cases import ALL, GROWING, Case, Job
from .measure import Measuring
from .models import CELLS, CELLS_512, SIZES, Size, subject

BATCHES = (1, 2, 4, 8)
STEPS = (5, 10, 20, 40)
GPU_STEPS, GPU_REPEATS, GPU_BATCHES = 20, 15, (1, 4)
GROWTH_SHARE = 3  # a point of the plots gets a third of a table's pairs
QUICK_STEPS, QUICK_REPEATS = 6, 2
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
CODE = ("bench/speed/cases.py", "bench/speed/measure.py", "bench/speed/models.py")


def options(argv: list[str]) -> argparse.Namespace:
    from . import __doc__ as about

    parser = arguments(about, prog="python -m bench speed")
    parser.add_argument("--quick", action="store_true", help="the demo model alone, few repeats, under a minute")
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {', '.join(SIZES)}; separated by commas")
    parser.add_argument("--repeats", type=int, help="pairs of runs per case, instead of each size's own number")
    parser.add_argument("--dtype", choices=list(DTYPES), help="of random weights; float16 on a GPU, else bfloat16")
    where = "folder of the results; bench/results, and with --quick output/bench/speed"
    parser.add_argument("--out", type=Path, metavar="DIR", help=where)
    given = parser.parse_args(argv)
    given.sizes = ["demo"] if given.quick else [name.strip() for name in given.sizes.split(",") if name.strip()]
    unknown = [name for name in given.sizes if name not in SIZES]
    if unknown or not given.sizes:
        parser.error(f"--sizes: {', '.join(unknown) or 'none'}; choose of {', '.join(SIZES)}.")
    if given.repeats is not None and given.repeats < 1:
        parser.error(f"--repeats: {given.repeats} is below 1.")
    given.out = given.out or (CACHE / "speed" if given.quick else RESULTS)
    given.records = CACHE / "speed" if given.out.resolve() == RESULTS else given.out
    return given


@dataclass(frozen=True)
class Planned:
    """One record to make."""

    series: str  # "cases", "batch" or "steps"
    case: Case
    batch: int
    steps: int


def planned(name: str, steps: int, gpu: bool, quick: bool) -> list[Planned]:
    """All records of a size. Growth is measured on the demo model, and on a GPU on SD1.5's shape as well."""
    cases = [case for case in ALL if case.first or (SIZES[name].whole and not quick)]
    plan = [Planned("cases", case, batch, steps) for batch in (GPU_BATCHES if gpu else (1,)) for case in cases]
    if name == "demo" or (gpu and name == "sd15"):
        some = slice(0, 2 if quick else None)
        for case in [case for case in cases if case.name in GROWING][: 1 if quick else None]:
            plan += [Planned("batch", case, batch, steps) for batch in BATCHES[some]]
            plan += [Planned("steps", case, 1, count) for count in STEPS[some]]
    return plan


def missing_memory(size: Size, dtype: torch.dtype, device: torch.device) -> str:
    """Why a model of this size can't be made here; empty where it can."""
    import comfy.model_management

    needed = size.needed(dtype.itemsize)
    for place in {torch.device("cpu"), device}:
        free = comfy.model_management.get_free_memory(place)
        if free < needed:
            return f"it needs {needed / 2**30:.1f} GiB of memory on {place.type}, and {free / 2**30:.1f} GiB are free"
    return ""


def measured(given: argparse.Namespace, session: DemoSession, device: torch.device) -> Iterator[dict[str, Any]]:
    """The records of each size; a size that can't be measured is one that says why."""
    import comfy.model_management as management

    gpu = device.type != "cpu"
    dtype = DTYPES[given.dtype or ("float16" if gpu else "bfloat16")]
    measuring = Measuring(Store(given.records / "records.sqlite"), fingerprint(), device)
    for name in given.sizes:
        size = SIZES[name]
        if why := missing_memory(size, dtype, device):
            print(f"{size.title}: not measured, {why}.")
            yield {"size": name, "skipped": why}
            continue
        steps = QUICK_STEPS if given.quick else GPU_STEPS if gpu else size.steps
        repeats = given.repeats or (QUICK_REPEATS if given.quick else GPU_REPEATS if gpu else size.repeats)
        cells = CELLS_512 if gpu and size.unet else CELLS
        load = functools.cache(functools.partial(subject, session, size, dtype))
        weights = str(dtype if size.unet else torch.float32).removeprefix("torch.")
        shared = {"device": described(device), "dtype": weights}
        records = []
        bar = tqdm(planned(name, steps, gpu, given.quick), unit="case", smoothing=0.1)
        for entry in bar:
            bar.set_description(f"{name}: {entry.case.name}")
            pairs = repeats if entry.series == "cases" else -(-repeats // GROWTH_SHARE)
            settings = {"batch": entry.batch, "steps": entry.steps, "cells": cells, "repeats": pairs, **shared}
            job = Job(load, entry.batch, entry.steps, cells)
            records.append({**measuring.record(name, entry.case, job, settings), "series": entry.series})
        load.cache_clear()  # the next one takes its memory
        management.unload_all_models()
        management.cleanup_models()
        yield {"size": name, "records": records}


def described(device: torch.device) -> str:
    """The machine, as the report names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return f"{cpu}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def fingerprint() -> str:
    """Of all that a record depends on, beside its own settings and the machine."""
    return evidence.fingerprint(CODE, {})


def as_json(results: dict[str, Any]) -> str:
    """One record per line."""
    return json.dumps(results).replace(', {"size"', ',\n{"size"').replace('[{"size"', '[\n{"size"') + "\n"


def main(argv: list[str]) -> int:
    given = options(argv)
    session = DemoSession(given.comfyui)
    import comfy.model_management
    import comfy.utils

    comfy.utils.PROGRESS_BAR_ENABLED = False  # the host's own bar for each run
    logging.getLogger().setLevel(logging.WARNING)  # and what it and the nodes tell of each
    device = comfy.model_management.get_torch_device()
    made = {"quick": given.quick, "device": described(device), "cores": os.cpu_count(), "gpu": device.type != "cpu"}
    made |= {"python": platform.python_version(), "fingerprint": fingerprint(), **evidence.provenance(given.comfyui)}
    results: dict[str, Any] = {"version": 1, "made": made, "sizes": []}
    given.out.mkdir(parents=True, exist_ok=True)
    for size in measured(given, session, device):
        results["sizes"].append(size)
        # After every size, so that a stopped run leaves a report of what there is.
        (given.out / "speed.json").write_text(as_json(results), encoding="utf-8")
        (given.out / "speed.md").write_text(report.text(results, report.draw(results, given.out)), encoding="utf-8")
    print(given.out / "speed.md")
    return 0
