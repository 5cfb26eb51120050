"""The command: searches attacks, makes every method's pictures of them, scores them, and writes the report."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from bench import command, edits, evidence
from bench.command import RESULTS, Results, carried_over, execute, work
from bench.demo_session import BATCH, SETTINGS
from bench.pool import workers
from bench.safety.command import MADE_BY, SCORED_BY, make, methods_of, scores
from bench.safety.plan import plain
from bench.safety.sets import Case, draw, evenly
from bench.safety.worker import Task
from bench.store import Store

from . import gates, plan, report
from .attacker import Attacker, AttackJob

EXAMPLES = 3  # attack prompts of each search that the results show
SEARCHED_BY = ("bench/redteam/search.py", "bench/redteam/attacker.py", "bench/redteam/plan.py")
ASKED_BY = ("bench/redteam/gates.py",)
COLUMNS = ("unsafe", "any_unsafe", "benign")
RANGES = {
    "workers": (1, 64, None),
    "sources": (2, 180, "prompts that are attacked"),
    "population": (4, 100_000, "of the search"),
    "generations": (0, 100_000, "of the search"),
    "length": (1, 75, "tokens of an attack"),
}


def parser() -> argparse.ArgumentParser:
    about = "Attack prompts after Ring-A-Bell against every method, on the demo model: what they bring back."
    options = command.parser("redteam", about, "two sources, a small search, few methods")
    options.add_argument(
        "--seed", type=int, default=plan.SEED, help=f"of prompts, noises, search (default: {plan.SEED})"
    )
    defaults = {"sources": plan.FULL.sources, **asdict(plan.FULL.search)}
    for name, (_, _, words) in RANGES.items():
        if words:
            options.add_argument(f"--{name}", type=int, metavar="N", help=f"{words} (default: {defaults[name]})")
    words = f"how much of the concept vector a target has beyond its prompt (default: {plan.FULL.eta:g})"
    options.add_argument("--eta", type=float, metavar="X", help=words)
    words = f"which words attacks may have: {', '.join(plan.SEARCHES)} (default: all three)"
    searches = {"nargs": "+", "choices": plan.SEARCHES, "default": list(plan.SEARCHES), "metavar": "NAME"}
    options.add_argument("--searches", help=words, **searches)
    words = f"only these beside plain sampling: {', '.join(plan.ATTACKABLE)} (default: all)"
    options.add_argument("--methods", nargs="+", choices=plan.ATTACKABLE, metavar="NAME", help=words)
    command.add_verify(options)
    return options


def size_of(options: argparse.Namespace) -> plan.Size:
    """The run's size. Raises ValueError, naming the option."""
    size = plan.SMALL if options.quick else plan.FULL
    wanted = {name: value for name, value in vars(options).items() if value is not None}
    size = replace(size, **{name: wanted[name] for name in ("sources", "eta") if name in wanted})
    search = {name: wanted[name] for name in ("population", "generations", "length") if name in wanted}
    size = replace(size, search=replace(size.search, **search))
    values = {"workers": options.workers, "sources": size.sources, **asdict(size.search)}
    for name, (least, most, _) in RANGES.items():
        if not least <= values[name] <= most:
            raise ValueError(f"--{name}: expected {least} to {most}, got {values[name]}.")
    return size


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    try:
        size = size_of(options)
    except ValueError as error:
        parser().error(str(error))
    whole = (size, options.seed, options.searches, options.methods) == (plan.FULL, plan.SEED, list(plan.SEARCHES), None)
    out = options.out or (RESULTS if whole else options.cache / "results")
    publish = partial(report.publish, folder=out)
    return execute("redteam", out, options, partial(run, options, size), publish, partial(verify, options))


def fingerprint(made: dict[str, Any], methods: dict[str, str]) -> str:
    """Of results. methods: the digest of each one's settings."""
    names = ("seed", "quick", "eta", "population", "generations", "length", "crossover", "mutation")
    settings = {**{name: made[name] for name in names}, "methods": methods}
    return evidence.fingerprint((*MADE_BY, *SCORED_BY, *SEARCHED_BY, *ASKED_BY), settings)


def run(options: argparse.Namespace, size: plan.Size, limit: int | None = None) -> Results:
    """Searches, makes and scores what is missing; the results. limit: of the first sources alone."""
    edits.print_missing()
    made = evidence.provenance(options.comfyui)
    where = [options.seed, made["host"], made["torch"]]
    sources = plan.sources(options.seed, size.sources)[:limit]
    attacks = find(options, size, sources, where)
    sets = {plan.SOURCE: sources}
    for name, attack in attacks.items():
        sets[name] = [replace(case, prompt=one["prompt"]) for case, one in zip(sources, attack, strict=True)]
    drawn = draw(options.seed)
    harmless = {name: evenly(drawn[name], size.sources) for name in (gates.BENIGN, gates.NEIGHBOURS)}
    everything = {**sets, **harmless}
    texts = [case.prompt for cases in everything.values() for case in cases]
    file = options.cache / f"{evidence.fingerprint(MADE_BY, [*where, texts])}.sqlite"
    store = Store(file)
    rows = [row for cases in sets for row in plan.rows(cases, options.quick, options.methods)]
    asked = f"gates-{evidence.digest(ASKED_BY)}"
    with workers(
        partial(Attacker, AttackJob(options.comfyui, file, options.seed, everything)), options.workers
    ) as pool:
        make(pool, store, rows, sets)
        if asked not in store:
            work(pool, "asking gates", [Task("gates", plain(plan.SOURCE), asked)])
        figures = scores(pool, store, rows)
    methods = methods_of([row.method for row in rows])
    about = {"seed": options.seed, "quick": options.quick, **SETTINGS, "eta": size.eta, **asdict(size.search), **made}
    about |= {"methods": options.methods, "digests": methods, "fingerprint": fingerprint(about, methods)}
    about["minutes"] = sum(figure["seconds"] for figure in figures.values()) / 60
    return {
        "version": 1,
        "made": about,
        "sets": {
            name: [
                {"unsafe": case.unsafe[0], "held_out": case.held_out, "risk": risk, **losses(attacks.get(name), i)}
                for i, (case, risk) in enumerate(zip(cases, figures[plain(name).key]["risk"], strict=True))
            ]
            for name, cases in sets.items()
        },
        "gates": store[asked],
        "examples": {
            name: [{"source": a.prompt, "attack": b.prompt} for a, b in zip(sources, cases, strict=True)][:EXAMPLES]
            for name, cases in sets.items()
            if name != plan.SOURCE
        },
        "rows": [
            {
                **{"key": row.key, "set": row.cases, "method": row.method, "family": row.of.family},
                **{"setting": row.setting, "x": row.x, "gated": row.gated},
                "columns": {name: figures[row.key]["columns"][name] for name in COLUMNS},
            }
            for row in rows
        ],
    }


def losses(attacks: list[dict[str, Any]] | None, number: int) -> dict[str, float]:
    return {} if attacks is None else {key: attacks[number][key] for key in ("loss", "begun")}


def find(options: argparse.Namespace, size: plan.Size, sources: list[Case], where: list[Any]) -> dict[str, list[Any]]:
    """By search the attack on every source; those that were found before come from the cache."""
    words = {name: sorted(plan.forbidden(name)) for name in plan.SEARCHES}
    texts = [case.prompt for case in plan.sources(options.seed, size.sources)]
    file = options.cache / f"attacks-{evidence.fingerprint(SEARCHED_BY, [*where, asdict(size), words, texts])}.sqlite"
    store = Store(file)
    job = AttackJob(options.comfyui, file, options.seed, {plan.SOURCE: sources}, size=size)
    keys = {name: [f"{name}/{i:03}" for i in range(len(sources))] for name in options.searches}
    tasks = [
        Task("search", plain(name), key, i) for name in keys for i, key in enumerate(keys[name]) if key not in store
    ]
    with workers(partial(Attacker, job), options.workers) as pool:
        work(pool, "searching", tasks)
    return {name: [store[key] for key in keys[name]] for name in keys}


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where attacks on the first sources and their pictures are equal again.

    Whole batches: the last bits of a picture depend on how many share its batch.
    """
    made, sets = results["made"], results["sets"]
    limit = -(-options.verify // BATCH) * BATCH
    options.seed, options.quick, options.methods = made["seed"], made["quick"], made["methods"]
    options.searches = [name for name in sets if name != plan.SOURCE]
    search = replace(plan.FULL.search, **{name: made[name] for name in ("population", "generations", "length")})
    again = run(options, plan.Size(len(sets[plan.SOURCE]), search, made["eta"]), limit)
    keys = {row["key"] for row in again["rows"]}
    gone = [row for row in results["rows"] if row["key"] not in keys]
    if faults := [
        f"{row['key']}: recorded, but no row of the plan" for row in gone if not edits.missing(row["method"])
    ]:
        return faults
    about = f"attacks on the first {limit} sources searched again (texts shown, losses, risks by every gate), and "
    about += f"{len(keys)} rows of their pictures made again (columns {', '.join(COLUMNS)})"
    if gone:
        methods = sorted({row["method"] for row in gone})
        about += f"; not made again {len(gone)} rows of {' and '.join(methods)}, whose weights are not here"
        again["made"]["digests"] |= {name: made.get("digests", {}).get(name, "") for name in methods}
        again["made"]["fingerprint"] = fingerprint(again["made"], again["made"]["digests"])
    again["made"].pop("minutes")
    return carried_over(results, again, partial(of_single_prompts, keys), about)


def of_single_prompts(keys: set[str], results: Results) -> dict[str, Any]:
    """The part of the results that has a figure for every prompt."""
    rows = {row["key"]: row["columns"] for row in results["rows"] if row["key"] in keys}
    return {name: results[name] for name in ("sets", "gates", "examples")} | {"rows": rows}
