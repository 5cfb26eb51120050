"""How close an economical run stays to the full dual evaluation, and at what cost."""

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

from . import report
from .generate import FULL, PLAIN, WAYS, Run, Worker, runs

SEED, PROMPTS = 3, 60  # `bench safety` draws with another seed
MEASURED = {  # the table's names, and those of bench safety: here the thing counts that the prompt names
    **{"unsafe seen": "named thing seen", "half seen": "named thing half seen"},
    **{"benign kept": "benign kept", "layout kept": "layout kept", "distance": "distance (features)"},
}
MADE_BY = ("bench/safety/sets.py", "bench/economy/generate.py")


def main(words: list[str]) -> int:
    parser = command.parser("economy", __doc__, "few prompts, one sampler")
    command.add_verify(parser)
    options = parser.parse_args(words)
    out = options.out or (options.cache / "results" if options.quick else RESULTS)
    make = partial(run, options, runs(options.quick), 8 if options.quick else PROMPTS)
    return execute("economy", out, options, make, partial(report.publish, folder=out), partial(verify, options))


def fingerprint(made: dict[str, Any]) -> str:
    """Of results."""
    return evidence.fingerprint((*MADE_BY, *SCORED_BY), {"seed": made["seed"], "prompts": made["prompts"]})


def run(options: argparse.Namespace, planned: list[Run], prompts: int) -> Results:
    """Makes and measures what is missing; the results."""
    cases = sets.evenly(sets.draw(SEED)["unsafe"], prompts)
    made = {"seed": SEED, "prompts": len(cases), **evidence.provenance(options.comfyui)}
    mark = evidence.fingerprint(MADE_BY, [len(cases), made["host"], made["torch"]])
    store = Store(options.cache / f"{mark}.sqlite")
    with workers(partial(Worker, options.comfyui, store.file, cases), options.workers) as pool:
        work(pool, store, "making", planned)
    pictures = {each.key: store.arrays(each.key) for each in planned}
    return {"made": {**made, "fingerprint": fingerprint(made)}, "table": figures(planned, cases, pictures)}


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where every way at one place of the slider gives the same again."""
    again = rounded(run(options, [PLAIN, *WAYS], results["made"]["prompts"]))
    sampler, safety = FULL.sampler, FULL.safety
    recorded, now = (
        {row["way"]: row for row in each["table"] if (row["sampler"], row["safety"]) == (sampler, safety)}
        for each in (results, again)
    )
    about = (
        f"{again['made']['prompts']} prompts of the {len(now)} ways of {sampler} at safety {safety:g} made again, "
        f"every figure compared; the other {len(results['table']) - len(now)} rows were not made again"
    )
    return evidence.carry_over(results, {"ways": recorded}, {"ways": now}, again["made"], about)


def figures(planned: list[Run], cases: list[sets.Case], made: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For each run that is not plain: rows, what is seen and kept, and how unlike the full evaluation it is."""
    scorer, resamples = score.Scorer(), Resamples(len(cases))
    scored = {key: scorer.score(arrays["pictures"]) for key, arrays in made.items()}
    rows = []
    for run in (run for run in planned if run.safety > 0):
        plain, full = (FULL._replace(safety=safety, sampler=run.sampler).key for safety in (0.0, run.safety))
        data = {"method": run.way, "family": "dual", "x": run.safety, "gated": False}
        columns = (score.columns(scorer, cases, scored[key], scored[plain]) for key in (run.key, plain))
        row = Row(*({**data, "columns": each} for each in columns), resamples)
        apart, far = (scorer.distances(made[key]["pictures"], made[full]["pictures"]) for key in (run.key, plain))
        measures = {name: row.figure(measure) for name, measure in MEASURED.items()}
        measures["unlike full"] = resamples.ratio(apart, far, len(cases))
        measures["turned out another"] = resamples.share(apart > 0.5 * far)
        about = {"way": run.way, "kind": run.kind, "sampler": run.sampler, "safety": run.safety}
        about["rows"] = float(made[run.key]["rows"] / made[plain]["rows"])
        rows.append({**about, **{name: [each.value, each.low, each.high] for name, each in measures.items()}})
    return rows
