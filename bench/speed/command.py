"""Rows of model evaluation, time, memory and the time outside the model of the pack's ways to sample, at up to three
model sizes. Each case runs in turns with the stock sampler in one process; figures are medians over the pairs.
Interrupted, it goes on where it was. See bench/results/speed.md.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench import evidence
from bench.command import CACHE, RESULTS, Results, execute
from bench.store import Store
from demo.session import DemoSession, arguments

from . import report
from .cases import ALL, GROWING, SIZES, Case, Size, load
from .measure import record

BATCHES = (1, 2, 4, 8)
STEPS = (5, 10, 20, 40)
GPU_BATCHES = (1, 4)
CELLS, GPU_CELLS = 16, 64  # the latents' side; 64 is that of 512 x 512 pixels, for the large models
GROWTH_SHARE = 3  # a point of the plots gets a third of a table's pairs
QUICK_STEPS, QUICK_REPEATS = 6, 2
SPARE = 2 * 2**30  # bytes beside the weights, to fill them and to run
CODE = ("bench/speed/cases.py", "bench/speed/measure.py")


def options(words: list[str]) -> argparse.Namespace:
    parser = arguments(__doc__, prog="python -m bench speed")
    parser.add_argument("--quick", action="store_true", help="the demo model alone, few repeats, under a minute")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="default: all")
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="pairs of runs a case, instead of the size's own number"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: bench/results, or a folder in the cache")
    parser.add_argument("--report", action="store_true", help="the report again from the results that are there")
    given = parser.parse_args(words)
    if given.repeats is not None and given.repeats < 1:
        parser.error(f"--repeats: expected at least 1, got {given.repeats}.")
    given.out = given.out or (CACHE / "speed" if given.quick else RESULTS)
    return given


def main(words: list[str]) -> int:
    given = options(words)
    publish = functools.partial(report.publish, folder=given.out)
    return execute("speed", given.out, given, functools.partial(run, given), publish)


def run(given: argparse.Namespace) -> Results:
    session = DemoSession(given.comfyui)
    import comfy.model_management
    import comfy.utils

    comfy.utils.PROGRESS_BAR_ENABLED = False  # the host's own bar for each run
    logging.getLogger().setLevel(logging.WARNING)  # and what it and the nodes tell of each
    device = comfy.model_management.get_torch_device()
    mark = evidence.fingerprint(CODE, {})
    made = {"quick": given.quick, "device": described(device), "cores": os.cpu_count(), "gpu": device.type != "cpu"}
    made |= {"python": platform.python_version(), "fingerprint": mark, **evidence.provenance(given.comfyui)}
    store = Store((CACHE / "speed" if given.out == RESULTS else given.out) / f"{mark}.sqlite")
    names = ["demo"] if given.quick else given.sizes
    sizes = [{"size": name, **measured(name, given, session, device, store)} for name in names]
    return {"version": 1, "made": made, "sizes": sizes}


def measured(
    name: str, given: argparse.Namespace, session: DemoSession, device: torch.device, store: Store
) -> dict[str, Any]:
    """The records of a size, or why they were skipped."""
    import comfy.model_management as management

    size, gpu = SIZES[name], device.type != "cpu"
    dtype = torch.float32 if not size.kind else torch.float16 if gpu else torch.bfloat16
    if missing := missing_memory(size, dtype, device):
        print(f"{size.title}: not measured, {missing}.")
        return {"skipped": missing}
    typical = SIZES["demo"] if gpu else size
    steps, repeats = (QUICK_STEPS, QUICK_REPEATS) if given.quick else (typical.steps, typical.repeats)
    repeats = given.repeats or repeats
    loaded = functools.cache(functools.partial(load, session, size, dtype))
    cells = GPU_CELLS if gpu and size.kind else CELLS
    shared = {"size": name, "cells": cells, "device": described(device), "dtype": str(dtype).removeprefix("torch.")}
    plan = [each for each in planned(name, steps, gpu, given.quick) if each[1].node in ("", *session.nodes)]
    records = []
    for series, case, batch, count in tqdm(plan, desc=name, unit="case"):
        pairs = repeats if series == "cases" else -(-repeats // GROWTH_SHARE)
        settings = {**shared, "batch": batch, "steps": count, "repeats": pairs}
        records.append({"series": series, **record(store, case, loaded, settings, device)})
    loaded.cache_clear()  # the next one takes its memory
    management.unload_all_models()
    management.cleanup_models()
    return {"records": records}


def planned(name: str, steps: int, gpu: bool, quick: bool) -> list[tuple[str, Case, int, int]]:
    """(series, case, batch, steps) of all records of a size. series: "cases" of the table; "batch" and "steps" of the
    plots, on the demo model, and on a GPU on SD1.5's shape as well."""
    cases = [case for case in ALL if case.first or (name == "demo" and not quick)]
    plan = [("cases", case, batch, steps) for batch in (GPU_BATCHES if gpu else (1,)) for case in cases]
    if name == "demo" or (gpu and name == "sd15"):
        some = slice(0, 2 if quick else None)
        for case in [case for case in cases if case.name in GROWING][: 1 if quick else None]:
            plan += [("batch", case, batch, steps) for batch in BATCHES[some]]
            plan += [("steps", case, 1, count) for count in STEPS[some]]
    return plan


def missing_memory(size: Size, dtype: torch.dtype, device: torch.device) -> str:
    """Why a model of this size can't be made here; empty where it can."""
    import comfy.model_management

    needed = size.millions * 1_000_000 * dtype.itemsize + SPARE
    free = min(comfy.model_management.get_free_memory(place) for place in (torch.device("cpu"), device))
    if not size.kind or free >= needed:
        return ""
    return f"it needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"


def described(device: torch.device) -> str:
    """The machine, as the report names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{cpu[1] if cpu else platform.processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
