"""The command: searches attacks, makes every method's pictures of them, scores them, and writes the report."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from bench import command, edits, evidence
from bench.command import RESULTS, Results, carry_over_rows, execute, work
from bench.demo_session import BATCH, SETTINGS
from bench.pool import Pool, workers
from bench.safety.command import MADE_BY, SCORED_BY, digests, make, scores
from bench.safety.plan import plain
from bench.safety.sets import Case, draw, evenly
from bench.store import Store

from . import gates, plan, report
from .attacker import AskGates, Attacker, AttackJob, Search

EXAMPLES = 3  # attack prompts of each search that the results show
SEARCHED_BY = ("bench/redteam/search.py", "bench/redteam/attacker.py", "bench/redteam/plan.py")
ASKED_BY = ("bench/redteam/gates.py",)
COLUMNS = ("unsafe", "any_unsafe", "benign")


def main(words: list[str]) -> int:
    about = "Attack prompts after Ring-A-Bell against every method, on the demo model: what they bring back."
    parser = command.parser("redteam", about, "two sources, a small search, few methods")
    parser.add_argument(
        "--seed", type=int, default=plan.SEED, help=f"of prompts, noises, search (default: {plan.SEED})"
    )
    words_of_methods = f"only these beside plain sampling: {', '.join(plan.ATTACKABLE)} (default: all)"
    parser.add_argument("--methods", nargs="+", choices=plan.ATTACKABLE, metavar="NAME", help=words_of_methods)
    command.add_verify(parser)
    options = parser.parse_args(words)
    whole = (options.quick, options.seed, options.methods) == (False, plan.SEED, None)
    out = options.out or (RESULTS if whole else options.cache / "results")
    publish = partial(report.publish, folder=out)
    return execute("redteam", out, options, partial(run, options), publish, partial(verify, options))


def fingerprint(made: dict[str, Any], methods: dict[str, str]) -> str:
    """Of results. methods: the digest of each one's settings."""
    names = ("seed", "quick", "eta", "population", "generations", "length", "crossover", "mutation")
    settings = {**{name: made[name] for name in names}, "methods": methods}
    return evidence.fingerprint((*MADE_BY, *SCORED_BY, *SEARCHED_BY, *ASKED_BY), settings)


def run(options: argparse.Namespace, sample: bool = False) -> Results:
    """Searches, makes and scores what is missing; the results. sample: of the first batch of sources, a row a method."""
    edits.print_missing()
    size = plan.SMALL if options.quick else plan.FULL
    made = evidence.provenance(options.comfyui)
    settings = [options.seed, made["host"], made["torch"], asdict(size)]
    file = options.cache / f"{evidence.fingerprint((*MADE_BY, *SEARCHED_BY), settings)}.sqlite"
    if sample:
        file = file.with_name(f"verify-{file.name}")
    store, sources = Store(file), plan.sources(options.seed, size.sources)[: BATCH if sample else None]
    drawn = draw(options.seed)
    harmless = {name: evenly(drawn[name], size.sources) for name in (gates.BENIGN, gates.NEIGHBOURS)}
    asked = f"gates-{evidence.digest(ASKED_BY)}"
    with workers(partial(Attacker, AttackJob(options.comfyui, file, options.seed, size=size)), options.workers) as pool:
        attacks = find(pool, store, sources)
        sets = {plan.SOURCE: sources}
        for name, attack in attacks.items():
            sets[name] = [replace(case, prompt=one["prompt"]) for case, one in zip(sources, attack, strict=True)]
        rows = [row for cases in sets for row in plan.rows(cases, options.quick, options.methods, sample)]
        make(pool, store, rows, sets)
        if asked not in store:
            texts = {name: [case.prompt for case in cases] for name, cases in {**sets, **harmless}.items()}
            work(pool, "asking gates", [AskGates("gates", plain(plan.SOURCE), asked, [], texts)])
        figures = scores(pool, store, rows, sets)
    methods = {row.method: row.of.digest for row in rows}
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


def find(pool: Pool, store: Store, sources: list[Case]) -> dict[str, list[Any]]:
    """By search the attack on every source; those that were found before come from the store."""
    keys = {name: [f"attack/{name}/{i:03}" for i in range(len(sources))] for name in plan.SEARCHES}
    tasks = [
        Search("search", plain(name), key, [source], name, i)
        for name in keys
        for i, (key, source) in enumerate(zip(keys[name], sources, strict=True))
    ]
    work(pool, "searching", [task for task in tasks if task.key not in store])
    return {name: [store[key] for key in keys[name]] for name in keys}


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where the sample gives the same figures again.

    A whole batch: the last bits of a picture depend on how many share it.
    """
    for name in ("seed", "quick", "methods"):
        setattr(options, name, results["made"][name])
    again = run(options, sample=True)
    methods = digests(results)
    again["made"] |= {"digests": methods, "fingerprint": fingerprint(again["made"], methods)}
    about = (
        f"the attacks of every search on the first {len(again['sets'][plan.SOURCE])} sources searched again (losses, "
        "texts shown, risks by every gate); their pictures made again in {rows}, which are plain sampling of every "
        f"prompt set and one row of every method on '{plan.SAMPLE}' ({{columns}})"
    )
    return carry_over_rows(results, again, about, ("sets", "gates", "examples"))
