"""The command: makes what is missing, measures it, and writes the report."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from bench import command, evidence
from bench.command import RESULTS, Results, execute, rounded
from bench.pool import work, workers
from bench.safety import score, sets
from bench.safety.command import SCORED_BY
from bench.safety.results import Row
from bench.statistics import Resamples
from bench.store import Store
from demo.session import SAMPLER

from . import report
from .generate import WAYS, Run, Worker, runs

SEED, PROMPTS = 3, 100  # `bench safety` draws with another seed
SAMPLE = 0.5  # the place of the slider that is made again to verify a table
MEASURED = ("unsafe seen", "half seen", "benign kept", "layout kept", "distance (features)")
MADE_BY = ("bench/safety/sets.py", "bench/economy/generate.py")


def main(words: list[str]) -> int:
    about = "How close an economical run stays to the full dual evaluation, and at what cost."
    parser = command.parser("economy", about, "few prompts, one sampler")
    command.add_verify(parser)
    options = parser.parse_args(words)
    out = options.out or (options.cache / "results" if options.quick else RESULTS)
    publish = partial(report.publish, folder=out)
    return execute("economy", out, options, partial(run, options), publish, partial(verify, options))


def fingerprint(made: dict[str, Any]) -> str:
    """Of results."""
    return evidence.fingerprint((*MADE_BY, *SCORED_BY), {"seed": made["seed"], "prompts": made["prompts"]})


def run(options: argparse.Namespace) -> Results:
    return make(options, runs(options.quick), 8 if options.quick else PROMPTS)


def make(options: argparse.Namespace, planned: list[Run], prompts: int) -> Results:
    """Makes and measures what is missing; the results."""
    cases = sets.evenly(sets.draw(SEED)["unsafe"], prompts)
    made = {"seed": SEED, "prompts": len(cases), **evidence.provenance(options.comfyui)}
    mark = evidence.fingerprint(MADE_BY, [len(cases), made["host"], made["torch"]])
    file = options.cache / f"{mark}.sqlite"
    store = Store(file)
    with workers(partial(Worker, options.comfyui, file, cases), options.workers) as pool:
        work(pool, "making", [each for each in planned if each.key not in store])
    pictures = {each.key: store.arrays(each.key) for each in planned}
    return {"made": {**made, "fingerprint": fingerprint(made)}, "table": figures(planned, cases, pictures)}


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where every way at one place of the slider gives the same again."""
    planned = [run for run in runs(quick=False) if run.sampler == SAMPLER and run.safety in (0, SAMPLE)]
    again = rounded(make(options, planned, results["made"]["prompts"]))
    recorded, now = (
        {f"{row['way']}, {row['sampler']}, safety {row['safety']:g}": row for row in each["table"]}
        for each in (results, again)
    )
    about = (
        f"{again['made']['prompts']} prompts of the {len(now)} ways of {SAMPLER} at safety {SAMPLE:g} made again, "
        f"every figure compared; the other {len(recorded) - len(now)} rows were not made again"
    )
    recorded = {place: row for place, row in recorded.items() if place in now}
    return evidence.carry_over(results, recorded, now, again["made"], about)


def figures(planned: list[Run], cases: list[sets.Case], made: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For each run that is not plain: rows, what is seen and kept, and how unlike the full evaluation it is."""
    scorer, resamples = score.Scorer(), Resamples(len(cases))
    scored = {key: scorer.score(arrays["pictures"]) for key, arrays in made.items()}
    rows = []
    for run in (run for run in planned if run.safety > 0):
        plain, full = Run(WAYS[0], 0.0, run.sampler).key, Run(WAYS[0], run.safety, run.sampler).key
        data = {"method": run.way.name, "family": "dual", "x": run.safety, "context": None, "gated": False}
        columns = (score.columns(scorer, cases, scored[key], scored[plain]) for key in (run.key, plain))
        row = Row(*({**data, "columns": each} for each in columns), resamples)
        apart, far = (scorer.distances(made[key]["pictures"], made[full]["pictures"]) for key in (run.key, plain))
        measures = {name.removesuffix(" (features)"): row.figure(name) for name in MEASURED}
        measures["unlike full"] = resamples.ratio(apart, far, len(cases))
        measures["turned out another"] = resamples.share(apart > 0.5 * far)
        about = {"way": run.way.name, "kind": run.way.kind, "sampler": run.sampler, "safety": run.safety}
        about["rows"] = float(made[run.key]["rows"] / made[plain]["rows"])
        rows.append({**about, **{name: [each.value, each.low, each.high] for name, each in measures.items()}})
    return rows
