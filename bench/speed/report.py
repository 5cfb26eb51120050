"""The report of the speed benchmark, in Markdown."""

from __future__ import annotations

import json
from typing import Any

from bench.studio import SAMPLER, SCHEDULER

from .cases import IN_SHORT, STOCK
from .models import PROMPT, SIZES
from .statistics import summary

HEAD = ("case", "rows", "time", "CPU time", "ms a picture", "memory", "outside the model, ms a step", "difference")

INTRODUCTION = """# Speed: what Safelight costs beside the stock KSampler

`python -m bench speed` wrote this; every figure and every single time is in `speed.json`.

- **rows**: rows that the model evaluated, counted at the model, divided by those of the stock KSampler in the same
  setting. Exact, and the same on every machine.
- **time**: of the whole node, divided by the stock KSampler's. The two run in turns in one process, who goes first
  changes every time, and the ratio is taken pair by pair: the median, and in brackets the quartiles. The first line,
  the stock KSampler against itself, shows how much of that is noise.
- **CPU time**: the same for the seconds that cores spent on the process. Other work on the machine is not in it.
- **ms a picture**: the median of the case, and in brackets that of the stock runs in between.
- **memory**: the most that tensors took at once beyond what was there before the run (the weights), divided by the
  stock KSampler's. {memory}
- **outside the model, ms a step**: a core's time for the run outside the model's calls (the host, the sampler, the
  pack), divided by the steps: the case's median, in brackets the stock KSampler's. **difference**: the median of the
  pairs' differences, with quartiles: what the pack adds.

Prompts are encoded before the clock starts, and nothing is decoded. Sampler {sampler}, scheduler {scheduler}, the
prompt "{prompt}", concepts by their kinds. What a line does not say is at the node's
default; of SLD, CASG, TraSCE and SAFREE the guider is timed.
"""
MEMORY = {
    False: "On a CPU every tensor that an operation makes is followed\n  until it is freed; what an operation needs "
           "inside itself is not seen.",
    True: "The count of the GPU's allocator.",
}  # fmt: skip
BUSY = 1.5  # load of a core from which on the report calls the machine busy
SMALL = (
    "The latents are small, so that a CPU gets through: there, much of a call is the reading of the weights, which\n"
    "further rows share. Larger pictures come closer to the ratio of the rows."
)


def three(values: list[float], digits: int) -> str:
    low, middle, high = values
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def row(record: dict[str, Any]) -> str:
    found = summary(record)
    theirs, ours = found["milliseconds"]
    stock, own = found["beside"]
    name = record["case"] if record["against"] == STOCK else f"{record['case']}, beside {record['against']}"
    cells = (
        name, f"{found['rows']:.2f}", three(found["time"], 2), three(found["cpu"], 2),
        f"{ours:.0f} ({theirs:.0f})", f"{found['memory']:.2f}",
        f"{own:.1f} ({stock:.1f})", three(found["overhead"], 1),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(records: list[dict[str, Any]]) -> list[str]:
    return [f"| {' | '.join(HEAD)} |", f"|---|{'---:|' * (len(HEAD) - 1)}", *map(row, records)]


def in_short(records: list[dict[str, Any]]) -> list[str]:
    """A line for each of the cases that a reader asks for first."""
    found = {(record["case"], record["against"]): summary(record) for record in reversed(records)}
    return [
        f"- {case}: {found[case, against]['rows']:.2f} times the rows, {found[case, against]['time'][1]:.2f} times the "
        f"time and {found[case, against]['cpu'][1]:.2f} times the CPU time of {'the ' if against == STOCK else ''}"
        f"{against}"
        for case, against in IN_SHORT if (case, against) in found
    ]  # fmt: skip


def lines(results: dict[str, Any]) -> str:
    """The results as JSON, a record a line."""
    sizes = []
    for size in results["sizes"]:
        records = ",\n".join(json.dumps(record) for record in size.get("records", []))
        rest = json.dumps({key: value for key, value in size.items() if key != "records"})[:-1]
        sizes.append(f'{rest}, "records": [\n{records}\n]}}' if records else f"{rest}}}")
    rest = json.dumps({key: value for key, value in results.items() if key != "sizes"})[:-1]
    return f'{rest}, "sizes": [\n' + ",\n".join(sizes) + "\n]}\n"


def text(results: dict[str, Any], pictures: dict[str, str]) -> str:
    """The report. pictures: file names by size."""
    made = results["made"]
    loads = [record["load"] for size in results["sizes"] for record in size.get("records", []) if record["load"]]
    parts = [
        INTRODUCTION.format(memory=MEMORY[made["gpu"]], prompt=PROMPT, sampler=SAMPLER, scheduler=SCHEDULER),
        "## Where",
        "",
    ]
    parts += [f"ComfyUI {made['host']}, torch {made['torch']}, Python {made['python']}, on {made['device']}."]
    if loads:
        parts += [f"Load of the machine (one minute's mean, this benchmark's own work included): {min(loads):.1f} to "
                  f"{max(loads):.1f}."]  # fmt: skip
        if max(loads) > BUSY * made["cores"]:
            parts += ["Other work ran on the machine all the while: here the ratios of CPU time say more than those of "
                      "time."]  # fmt: skip
    if not made["gpu"]:
        parts += ["There was no GPU: figures in half precision at 512 pixels were not taken. The command takes them "
                  "where there is one."]  # fmt: skip
    if made["quick"]:
        parts += ["", "Made with `--quick`: few repeats, the demo model alone. A sanity check, no measurement."]
    for size in results["sizes"]:
        title = SIZES[size["size"]].title
        parts += ["", f"## {title[0].upper()}{title[1:]}", ""]
        if "skipped" in size:
            parts += [f"Not measured: {size['skipped']}."]
            continue
        if SIZES[size["size"]].unet is not None and not made["gpu"]:
            parts += [SMALL, ""]
        main = [record for record in size["records"] if record["series"] == "cases"]
        if size["size"] == "demo":
            parts += [*in_short(main), ""]
        for batch in sorted({record["batch"] for record in main}):
            records = [record for record in main if record["batch"] == batch]
            first = records[0]
            parts += [f"{first['steps']} steps, {batch} at once, latents {first['cells']} x {first['cells']}, "
                      f"{first['dtype']}, pairs of runs a case: {first['repeats']}. The stock KSampler takes "
                      f"{first['rows'][0]} rows in {first['calls'][0]} calls, and "
                      f"{first['peak'][0] / 2**20:.1f} MiB.", "", *table(records), ""]  # fmt: skip
        if size["size"] in pictures:
            parts += [f"![Time by pictures at once and by steps]({pictures[size['size']]})", ""]
    parts += ["", "## How to reproduce", "", "```", "python run.py bench speed            # all sizes",
              "python run.py bench speed --quick    # a sanity check in under a minute", "```", "",
              "Each case is kept in `output/bench/speed/` when it is done, so a stopped run goes on where it was,\n"
              "until the code changes. `--sizes` and `--repeats` choose less or more."]  # fmt: skip
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"
