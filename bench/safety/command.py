"""The command: draws the prompts, makes what is missing, scores it, and hands the results to the report."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path
from typing import Any

from bench import command, edits, evidence
from bench.command import RESULTS, Results, carried_over, execute, work
from bench.demo_session import BATCH, ROOT, SETTINGS
from bench.pool import workers
from bench.store import Store

from . import plan, sets
from .worker import Job, Task, Worker, batch_keys, load

SEED = 2
MADE_BY = ("bench/safety/sets.py", "bench/safety/generate.py")
SCORED_BY = ("bench/safety/score.py", "demo/detector.py", "demo/weights/detector.safetensors")


def parser() -> argparse.ArgumentParser:
    about = "Every method on the demo model, on the same prompts and noises: what is seen, what is kept, what it costs."
    options = command.parser("safety", about, "few prompts and rows, for a sanity check in minutes")
    options.add_argument("--seed", type=int, default=SEED, help=f"of the prompts and noises (default: {SEED})")
    options.add_argument("--rows", metavar="REGEX", help="only the rows whose key matches, and the plain ones")
    options.add_argument("--list", action="store_true", help="print the keys of the rows, and make nothing")
    command.add_verify(options)
    return options


def chosen_rows(options: argparse.Namespace) -> list[plan.Row]:
    rows = plan.quick_rows() if options.quick else plan.rows()
    if options.rows is None:
        return rows
    matching = [row for row in rows if re.search(options.rows, row.key)]
    plains = {plan.plain(row.cases).key: plan.plain(row.cases) for row in matching}
    return list({**plains, **{row.key: row for row in matching}}.values())


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    rows = chosen_rows(options)
    if not rows:
        parser().error(f"--rows: no row's key matches {options.rows!r}; --list prints them")
    if options.list:
        print("\n".join(row.key for row in rows))
        return 0
    whole = not options.quick and options.rows is None and options.seed == SEED
    out = options.out or (RESULTS if whole else options.cache / "results")
    verifier = partial(verify, options)
    return execute("safety", out, options, partial(run, options, rows), partial(report, options, out), verifier)


def report(options: argparse.Namespace, out: Path, results: Results) -> None:
    """Report and, for the committed results, README's table. Examples are drawn where the pictures are still there."""
    from .report import publish

    made = results["made"]
    file = store_file(options.cache, made["seed"], made["quick"], made)
    readme = ROOT / "README.md" if out.resolve() == RESULTS else None
    publish(results, out, readme, partial(pictures, results, Store(file)) if file.exists() else None)


def pictures(results: Results, store: Store, key: str) -> Any:
    """The pictures of a row, bytes [N, H, W, 3] in the order of its set. Raises KeyError where they are gone."""
    made = results["made"]
    row = {row.key: row for row in [*plan.rows(), *plan.quick_rows()]}[key]
    return load(store, row, sets.draw(made["seed"], made["quick"])[row.cases])["pictures"]


def store_file(cache: Path, seed: int, quick: bool, where: dict[str, Any]) -> Path:
    """Pictures of other code, another draw or another host are never taken for these."""
    mark = evidence.fingerprint(MADE_BY, [seed, quick, where["host"], where.get("torch")])
    return cache / f"{mark}.sqlite"


def fingerprint(seed: int, quick: bool, methods: dict[str, str]) -> str:
    """Of results. methods: the digest of each one's settings."""
    return evidence.fingerprint((*MADE_BY, *SCORED_BY), {"seed": seed, "quick": quick, "methods": methods})


def methods_of(names: list[str]) -> dict[str, str]:
    return {name: plan.METHODS[name].digest for name in sorted(set(names))}


def make(pool: Any, store: Store, rows: list[plan.Row], drawn: dict[str, list[sets.Case]]) -> None:
    """The pictures that are missing, most telling rows first."""
    made = {row.made_as.key: row.made_as for row in rows}.values()
    tasks = [Task("make", row, key, i) for row in made for i, key in enumerate(batch_keys(row, drawn[row.cases]))]
    work(pool, "making", [task for task in tasks if task.key not in store])


def scores(pool: Any, store: Store, rows: list[plan.Row]) -> dict[str, dict[str, Any]]:
    """The figures of every row by its key; those that are missing are measured."""
    mark = evidence.digest(SCORED_BY)
    keys = {row.key: f"score/{row.made_as.place}-{mark}" for row in rows}
    tasks = {keys[row.key]: Task("score", row.made_as, keys[row.key]) for row in rows}
    work(pool, "scoring", [task for key, task in tasks.items() if key not in store])
    return {row.key: store[keys[row.key]] for row in rows}


def run(options: argparse.Namespace, rows: list[plan.Row], limit: int | None = None) -> Results:
    """Makes and scores what is missing of `rows`; the results. limit: of the first prompts of each set, no timings."""
    edits.print_missing()
    size = sets.QUICK if options.quick else sets.FULL
    drawn = {name: cases[:limit] for name, cases in sets.draw(options.seed, options.quick).items()}
    made = evidence.provenance(options.comfyui)
    file = store_file(options.cache, options.seed, options.quick, made)
    if limit is not None:
        file = file.with_name(f"verify-{limit}-{file.name}")
    store = Store(file)
    timed = [row for row in rows if row.timed and limit is None]
    edited = {row.method: row for row in rows if row.of.way == "edit" and limit is None}
    tasks = [Task("time", row, f"time/{row.place}") for row in timed]
    tasks += [Task("price", row, f"price/{name}-{row.of.digest}") for name, row in edited.items()]
    noises = size.noises if limit is None else 0
    job = Job(options.comfyui, file, options.seed, drawn, noises, timed=4 if options.quick else 8)
    with workers(partial(Worker, job), options.workers) as pool:
        make(pool, store, rows, drawn)
        work(pool, "timing", [task for task in tasks if task.key not in store], alone=True)
        figures = scores(pool, store, rows)
    spent = {task.key: store[task.key] for task in tasks}
    plains = {row.cases: figures[row.key] for row in rows if row.method == "plain"}
    methods = methods_of([row.method for row in rows])
    about = {"seed": options.seed, "quick": options.quick, "methods": methods, **SETTINGS, **made}
    return {
        "version": 1,
        "made": {
            **about,
            "fingerprint": fingerprint(options.seed, options.quick, methods),
            "minutes": sum(figures[key]["seconds"] for key in {row.made_as.key for row in rows}) / 60,
        },
        "redrawn": plains.get("diversity", {}).get("redrawn"),
        "edits": {name: spent[f"price/{name}-{row.of.digest}"] for name, row in edited.items()},
        "sets": {
            name: [{**case.record(), "risk": risk} for case, risk in zip(drawn[name], plain["risk"], strict=True)]
            for name, plain in plains.items()
        },
        "rows": [
            {
                **{"key": row.key, "set": row.cases, "method": row.method, "family": row.of.family},
                **{"setting": row.setting, "x": row.x, "gated": row.gated, "context": row.context},
                "evaluations": figures[row.key]["evaluations"],
                "relative_rows": figures[row.key]["evaluations"] / plains[row.cases]["evaluations"],
                "relative_time": spent.get(f"time/{row.place}"),
                **{name: figures[row.key][name] for name in ("columns", "covariance", "diversity")},
            }
            for row in rows
        ],
    }


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where the first prompts of every row give the same figures again.

    Whole batches of every set: the last bits of a picture depend on how many share its batch.
    """
    limit = -(-options.verify // BATCH) * BATCH
    options.seed, options.quick = results["made"]["seed"], results["made"]["quick"]
    recorded = {row["key"] for row in results["rows"]}
    rows = [row for row in (plan.quick_rows() if options.quick else plan.rows()) if row.key in recorded]
    gone = recorded - {row.key for row in rows}
    missing = [row["key"] for row in results["rows"] if row["key"] in gone and edits.missing(row["method"])]
    if gone - set(missing):
        return [f"{key}: recorded, but no row of the plan" for key in sorted(gone - set(missing))]
    again = run(options, rows, limit)
    names = ", ".join(again["rows"][0]["columns"])
    about = f"the first {limit} prompts of each set in each of {len(rows)} rows made again (columns {names}; risks)"
    if missing:
        methods = sorted({row["method"] for row in results["rows"] if row["key"] in missing})
        about += f"; not made again {len(missing)} rows of {' and '.join(methods)}, whose weights are not here"
        again["made"]["methods"] |= {name: results["made"].get("methods", {}).get(name, "") for name in methods}
    again["made"]["fingerprint"] = fingerprint(options.seed, options.quick, again["made"]["methods"])
    keys = {row.key for row in rows}
    again["made"].pop("minutes")
    return carried_over(results, again, partial(of_single_prompts, keys), about)


def of_single_prompts(keys: set[str], results: Results) -> dict[str, Any]:
    """The part of the results that has a figure for every prompt."""
    return {
        "sets": results["sets"],
        "rows": {row["key"]: row["columns"] for row in results["rows"] if row["key"] in keys},
    }
