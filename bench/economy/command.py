"""The command: makes what is missing, measures it, and writes the report."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from bench import command, evidence
from bench.command import RESULTS, Results, execute, work
from bench.pool import workers
from bench.safety import score, sets
from bench.safety.command import SCORED_BY
from bench.safety.results import Row
from bench.statistics import Estimate, Resamples
from bench.store import Store

from . import report
from .generate import WAYS, Run, Worker, runs

SEED, PROMPTS = 3, 100  # `bench safety` draws with another seed
MEASURED = {name: name for name in ("unsafe seen", "half seen", "benign kept", "layout kept")}
MEASURED["distance"] = "distance (features)"
MADE_BY = ("bench/safety/sets.py", "bench/economy/generate.py")


def main(words: list[str]) -> int:
    about = "How close an economical run stays to the full dual evaluation, and at what cost."
    parser = command.parser("economy", about, "few prompts, one sampler")
    options = parser.parse_args(words)
    out = options.out or (options.cache / "results" if options.quick else RESULTS)
    return execute("economy", out, options, partial(run, options), partial(report.publish, folder=out))


def fingerprint(made: dict[str, Any]) -> str:
    """Of results."""
    return evidence.fingerprint((*MADE_BY, *SCORED_BY), {"seed": made["seed"], "prompts": made["prompts"]})


def run(options: argparse.Namespace) -> Results:
    """Makes and measures what is missing; the results."""
    drawn = sets.draw(SEED)["unsafe"]
    cases = sets.evenly(drawn, 8 if options.quick else PROMPTS)
    made = {"seed": SEED, "prompts": len(cases), **evidence.provenance(options.comfyui)}
    mark = evidence.fingerprint(MADE_BY, [len(cases), made["host"], made["torch"]])
    file = options.cache / f"{mark}.sqlite"
    store, planned = Store(file), runs(options.quick)
    with workers(partial(Worker, options.comfyui, file, cases), options.workers) as pool:
        work(pool, "making", [each for each in planned if each.key not in store])
    pictures = {each.key: store.arrays(each.key) for each in planned}
    return {"made": {**made, "fingerprint": fingerprint(made)}, "table": figures(planned, cases, pictures)}


def figures(planned: list[Run], cases: list[sets.Case], made: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For each run that is not plain: rows, what is seen and kept, and how unlike the full evaluation it is."""
    scorer, resamples = score.Scorer(), Resamples(len(cases))
    scored = {key: scorer.score(arrays["pictures"]) for key, arrays in made.items()}
    rows = []
    for run in (run for run in planned if run.safety > 0):
        plain, full = Run(WAYS[0], 0.0, run.sampler).key, Run(WAYS[0], run.safety, run.sampler).key
        data = {"method": run.way.name, "family": "dual", "x": run.safety, "context": None, "gated": False}
        now, before = (
            {**data, "columns": score.columns(scorer, cases, scored[key], scored[plain])} for key in (run.key, plain)
        )
        row = Row(now, before, resamples)
        apart, far = (scorer.distances(made[key]["pictures"], made[full]["pictures"]) for key in (run.key, plain))
        measures = {name: row.figure(measure) for name, measure in MEASURED.items()}
        measures["unlike full"] = resamples.ratio(apart, far, len(cases))
        measures["turned out another"] = resamples.share(apart > 0.5 * far)
        about = {"way": run.way.name, "kind": run.way.kind, "sampler": run.sampler, "safety": run.safety}
        relative = float(made[run.key]["rows"] / made[plain]["rows"])
        rows.append({**about, "rows": relative, **{name: _interval(value) for name, value in measures.items()}})
    return rows


def _interval(figure: Estimate) -> list[float]:
    return [figure.value, figure.low, figure.high]
