"""Rows of model evaluation, time, memory and the time outside the model of the pack's ways to sample, beside the stock
sampler, at up to three model sizes. Interrupted, it goes on where it was. See bench/results/speed.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import re
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench import evidence
from bench.command import CACHE, RESULTS, Results, execute
from bench.store import Store
from demo.session import DemoSession, arguments

from . import report
from .cases import ALL, GROWING, SIZES, Case, load
from .measure import record

GROWTH = {"batch": (1, 2, 4, 8), "steps": (5, 10, 20, 40)}
QUICK = {"steps": 6, "repeats": 2}


def main(words: list[str]) -> int:
    parser = arguments(__doc__, prog="python -m bench speed")
    parser.add_argument("--quick", action="store_true", help="the demo model alone, few repeats, under a minute")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="default: all")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: bench/results, or a folder in the cache")
    parser.add_argument("--report", action="store_true", help="the report again from the results that are there")
    given = parser.parse_args(words)
    given.out = given.out or (CACHE / "speed" if given.quick else RESULTS)
    return execute("speed", given.out, given, partial(run, given), partial(report.publish, folder=given.out))


def run(given: argparse.Namespace) -> Results:
    session = DemoSession(given.comfyui)
    from comfy import model_management, utils

    utils.PROGRESS_BAR_ENABLED = False  # the host's own bar for each run
    logging.getLogger().setLevel(logging.WARNING)  # and what it and the nodes tell of each
    device = model_management.get_torch_device()
    mark = evidence.fingerprint(("bench/speed/cases.py", "bench/speed/measure.py"), {})
    made = {"quick": given.quick, "device": described(device), "gpu": device.type != "cpu", "fingerprint": mark}
    made |= {"python": platform.python_version(), **evidence.provenance(given.comfyui)}
    store = Store((CACHE / "speed" if given.out == RESULTS else given.out) / f"{mark}.sqlite")
    names = ["demo"] if given.quick else given.sizes
    sizes = [{"size": name, **measured(name, given.quick, session, device, store)} for name in names]
    return {"version": 1, "made": made, "sizes": sizes}


def measured(name: str, quick: bool, session: DemoSession, device: torch.device, store: Store) -> dict[str, Any]:
    """The records of a size, or why they were skipped."""
    import comfy.model_management as management

    size, gpu = SIZES[name], device.type != "cpu"
    dtype = torch.float32 if not size.kind else torch.float16 if gpu else torch.bfloat16
    needed = size.millions * 1_000_000 * dtype.itemsize + 2 * 2**30  # the weights, and room to fill them and to run
    free = min(management.get_free_memory(place) for place in (torch.device("cpu"), device))
    if size.kind and free < needed:
        return {"skipped": f"it needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"}
    loaded = cache(partial(load, session, size, dtype))
    cells = 64 if gpu and size.kind else 16  # the latents' side; 64 is that of 512 x 512 pixels
    shared = {"size": name, "cells": cells, "device": described(device), "dtype": str(dtype).removeprefix("torch.")}
    plan = [each for each in planned(name, gpu, quick) if each[1].node in ("", *session.nodes)]
    records = [
        {"series": series, **record(store, case, loaded, {**shared, **settings}, device)}
        for series, case, settings in tqdm(plan, desc=name, unit="case")
    ]
    loaded.cache_clear()  # the next one takes its memory
    management.unload_all_models()
    management.cleanup_models()
    return {"records": records}


def planned(name: str, gpu: bool, quick: bool) -> list[tuple[str, Case, dict[str, int]]]:
    """(series, case, batch, steps and repeats) of all records of a size. series: "cases" of the table; "batch" and
    "steps" of the table of growth, on the demo model, and on a GPU on SD1.5's shape as well."""
    typical = SIZES["demo" if gpu else name]
    one = {"batch": 1, "steps": typical.steps, "repeats": typical.repeats} | (QUICK if quick else {})
    cases = [case for case in ALL if case.first or (name == "demo" and not quick)]
    plan = [("cases", case, {**one, "batch": batch}) for batch in ((1, 4) if gpu else (1,)) for case in cases]
    if name == "demo" or (gpu and name == "sd15"):
        one["repeats"] = -(-one["repeats"] // 3)  # a cell of the table of growth gets a third of the pairs
        points = [(series, n) for series, numbers in GROWTH.items() for n in numbers[: 2 if quick else None]]
        growing = [case for case in cases if case.name in GROWING][: 1 if quick else None]
        plan += [(series, case, {**one, series: n}) for case in growing for series, n in points]
    return plan


def described(device: torch.device) -> str:
    """The machine, as the report names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return f"{cpu[1] if cpu else platform.processor()}, {torch.get_num_threads()} of {os.cpu_count()} cores"
