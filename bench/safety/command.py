"""The command: sets draws the prompts, plan says what is made, worker makes it, score measures it, report writes."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from bench import command, evidence
from bench.command import RESULTS, Results, execute, rounded
from bench.methods import missing, print_missing
from bench.pool import work, workers
from bench.store import Store
from demo.session import BATCH, ROOT, SETTINGS

from . import plan, plots, report, second, sets
from .added import add_option, chosen, merged
from .plan import SEED
from .worker import Job, Task, Worker, batches, load

EYE = ("demo/eye.py", "demo/glance.py", "demo/weights/glance.safetensors")
MADE_BY = (
    "bench/safety/sets.py",
    "bench/safety/worker.py",
    "bench/safety/loop.py",
    "bench/safety/eyes.py",
    "bench/safety/second.py",
    *EYE,
)
SCORED_BY = (
    "bench/safety/score.py",
    "bench/safety/form.py",
    "bench/safety/form.json",
    "bench/safety/glyphs.npz",
    "demo/detector.py",
    "demo/weights/detector.safetensors",
    *EYE,
)
SHOWN = ("any_unsafe", "benign")  # columns that say what a picture shows


def main(words: list[str]) -> int:
    about = "Every method on the demo model, on the same prompts and noises: what is seen, what is kept, what it costs."
    parser = command.parser("safety", about, "few prompts and rows, for a sanity check in minutes")
    add_option(parser, "unsafe_dual-rewrite_*")
    command.add_verify(parser)
    options = parser.parse_args(words)
    out = options.out or (options.cache / "results" if options.quick else RESULTS)
    make_all = partial(add, options, out) if options.add else partial(run, options)
    steps = make_all, partial(publish, options, out), partial(verify, options)
    return execute("safety", out, options, *steps)


def publish(options: argparse.Namespace, out: Path, results: Results) -> None:
    """Report and, for the committed results, the tables of README and docs/evidence.md. Examples are drawn where all
    of their pictures are still there."""
    quick, root = results["made"]["quick"], ROOT if out.resolve() == RESULTS else None
    file, rows = store_file(options.cache, quick, results["made"]), {row.key: row for row in plan.rows(quick)}
    cases = sets.draw(SEED, quick)["unsafe"]
    shown = [row for row in rows.values() if row.cases == "unsafe" and (row.method, row.x) in plots.EXAMPLE_ROWS]

    store = Store(file) if file.exists() else None
    there = store is not None and all(key in store for row in shown for key in batches(row, cases))

    def pictures(key: str) -> Any:
        return load(store, rows[key], cases)["pictures"]

    report.publish(results, out, root, pictures if there else None)


def store_file(cache: Path, quick: bool, where: dict[str, Any]) -> Path:
    """Pictures of other code, other prompts or another host are never taken for these."""
    return cache / f"{evidence.fingerprint(MADE_BY, [SEED, quick, where['host'], where.get('torch')])}.sqlite"


def fingerprint(quick: bool, methods: dict[str, str]) -> str:
    """Of results. methods: the digest of each one's settings."""
    return evidence.fingerprint((*MADE_BY, *SCORED_BY), {"seed": SEED, "quick": quick, "methods": methods})


def digests(results: Results) -> dict[str, str]:
    """Today's digest of each method's settings; the recorded one where its weights are not here."""
    recorded = results["made"].get("digests", {})
    names = sorted({row["method"] for row in results["rows"]})
    return {name: recorded.get(name, "") if missing(name) else plan.METHODS[name].digest for name in names}


def score_keys(rows: list[plan.Row]) -> dict[str, str]:
    """By a row's key, where a store has its figures."""
    mark = evidence.digest(SCORED_BY)
    return {row.key: f"score/{row.made_as.place}-{mark}" for row in rows}


def make(pool: Any, store: Store, rows: list[plan.Row], drawn: dict[str, list[sets.Case]]) -> None:
    """The pictures that are missing, most telling rows first. A row whose figures are there needs none, unless others
    are measured against it."""
    keys = score_keys(rows)
    lacking = [row for row in rows if keys[row.key] not in store]
    beside = {row.cases for row in lacking}
    needed = [row for row in rows if row in lacking or (row.method == "plain" and row.cases in beside)]
    each = ((row, key, cases) for row in needed for key, cases in batches(row, drawn[row.cases]).items())
    tasks = {key: Task("make", row.made_as, key, cases) for row, key, cases in each}
    work(pool, store, "making", tasks.values())


def scores(pool: Any, store: Store, rows: list[plan.Row], drawn: dict[str, list[sets.Case]]) -> dict[str, Any]:
    """The figures of every row by its key; those that are missing are measured."""
    keys = score_keys(rows)
    tasks = {keys[row.key]: Task("score", row.made_as, keys[row.key], drawn[row.cases]) for row in rows}
    work(pool, store, "scoring", tasks.values())
    return {name: store[key] for name, key in keys.items()}


def run(options: argparse.Namespace, limit: int | None = None) -> Results:
    """Makes and scores what is missing; the results. limit: of a sample of rows, and of the first prompts of each set,
    without timings."""
    print_missing()
    whole, size = limit is None, sets.QUICK if options.quick else sets.FULL
    rows = plan.rows(options.quick) if whole else plan.sample(plan.rows(options.quick))
    if options.add:
        rows = chosen(rows, options.add)
    drawn = {name: cases[:limit] for name, cases in sets.draw(SEED, options.quick).items()}
    made = evidence.provenance(options.comfyui)
    file = store_file(options.cache, options.quick, made)
    file = file if whole else file.with_name(f"verify-{limit}-{file.name}")
    times = {row.key: Task("time", row, f"time/{row.place}", drawn[row.cases]) for row in rows if row.timed and whole}
    edited = {row.method: row for row in rows if row.of.way == "edit" and whole}
    prices = {name: Task("price", row, f"price/{name}-{row.of.digest}", []) for name, row in edited.items()}
    after = second.rows(drawn["unsafe"]).items() if whole else ()
    keys = {row.key for row in rows}
    second_runs = {
        name: Task("second", row, f"second/{row.place}", cases) for name, (row, cases) in after if row.key in keys
    }
    store, tasks = Store(file), [*times.values(), *prices.values()]
    job = Job(options.comfyui, file, SEED, size.noises if whole else 0, 4 if options.quick else 8, forms=True)
    with workers(partial(Worker, job), options.workers) as pool:
        make(pool, store, rows, drawn)
        work(pool, store, "second runs", second_runs.values())
        work(pool, store, "timing", tasks, alone=True)
        figures = scores(pool, store, rows, drawn)
    plains = {row.cases: figures[row.key] for row in rows if row.method == "plain"}
    methods = {row.method: row.of.digest for row in rows}
    seconds = {row.made_as.key: figures[row.key]["seconds"] for row in rows}
    return {
        "version": 1,
        "made": {
            **{"seed": SEED, "quick": options.quick, **SETTINGS, **made, "digests": methods},
            **{"fingerprint": fingerprint(options.quick, methods), "minutes": sum(seconds.values()) / 60},
        },
        "redrawn": plains.get("diversity", {}).get("redrawn"),
        "edits": {name: store[task.key] for name, task in prices.items()},
        "second": {name: store[task.key] for name, task in second_runs.items()},
        "sets": {
            name: [{**case.record(), "risk": risk} for case, risk in zip(drawn[name], plain["risk"], strict=True)]
            for name, plain in plains.items()
        },
        "rows": [
            {
                **{"key": row.key, "set": row.cases, "method": row.method, "family": row.of.family},
                **{"setting": row.setting, "x": row.x, "gated": row.gated},
                "evaluations": figures[row.key]["evaluations"],
                "relative_rows": figures[row.key]["evaluations"] / plains[row.cases]["evaluations"],
                "relative_time": store[times[row.key].key] if row.key in times else None,
                **{name: figures[row.key][name] for name in ("columns", "covariance", "diversity")},
            }
            for row in rows
        ],
    }


def add(options: argparse.Namespace, out: Path) -> Results:
    """The results that are there with the rows to add (see `merged`); where there are none, these rows alone."""
    again, file = rounded(run(options)), out / "safety.json"
    if not file.exists():
        return again
    results = json.loads(file.read_text("utf-8"))
    both = {name: results.get(name, {}) | again[name] for name in ("sets", "edits", "second")}
    both["redrawn"] = again["redrawn"] or results["redrawn"]
    return merged(results, again, SHOWN, options.add) | both


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where the first prompts of a row of every method give the same figures.

    A whole batch: the last bits of a picture depend on how many share its batch.
    """
    options.quick = results["made"]["quick"]
    again, there = rounded(run(options, BATCH)), {row["key"]: row["columns"] for row in results["rows"]}
    again["rows"] = [row for row in again["rows"] if row["key"] in there]  # what is new has nothing to compare with
    # An older row lacks what was not measured then.
    columns = {
        row["key"]: {name: column for name, column in row["columns"].items() if name in there[row["key"]]}
        for row in again["rows"]
    }
    recorded = {key: there[key] for key in columns}
    before = {"rows": recorded, **{name: results["sets"][name] for name in again["sets"]}}
    made = again["made"] | {"digests": digests(results), "fingerprint": fingerprint(options.quick, digests(results))}
    del made["minutes"]
    methods, left_out = {row["method"] for row in again["rows"]}, ""
    if gone := sorted({row["method"] for row in results["rows"]} - methods):
        left_out = f" ({', '.join(gone)}: none, the weights are not here)"
    benign = sum(row["set"] == "benign" for row in again["rows"])
    about = (
        f"{BATCH} prompts of one row of each of {len(methods)} methods made again{left_out}, and {BATCH} benign "
        f"prompts by {benign} rows, plain and gated ones; the other {len(results['rows']) - len(columns)} rows were "
        f"not made again; compared: columns {', '.join(again['rows'][0]['columns'])} where they are recorded, and risks"
    )
    return evidence.carry_over(results, before, {"rows": columns, **again["sets"]}, made, about)
