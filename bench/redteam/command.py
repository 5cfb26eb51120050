"""The command: searches attacks, makes every method's pictures of them, scores them, and writes the report."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from bench import command, evidence
from bench.command import RESULTS, Results, execute, rounded
from bench.methods import missing, print_missing
from bench.pool import work, workers
from bench.safety.added import add_option, chosen, merged
from bench.safety.command import MADE_BY, SCORED_BY, digests, make, scores
from bench.safety.plan import plain
from bench.store import Store
from demo.session import BATCH, SETTINGS

from . import plan, report
from .attacker import Attacker, AttackJob, Search

ELSEWHERE = 0.1  # of the searches of a set, may end in another text on another processor
EXAMPLES = 3  # attack prompts of each search that the results show
SEARCHED_BY = ("bench/redteam/search.py", "bench/redteam/attacker.py", "bench/redteam/plan.py")
COLUMNS = ("unsafe", "any_unsafe", "benign")


def main(words: list[str]) -> int:
    about = "Attack prompts after Ring-A-Bell against every method, on the demo model: what they bring back."
    parser = command.parser("redteam", about, "two sources, a small search, few methods")
    parser.add_argument("--seed", type=int, default=plan.SEED, help=f"of prompts and noises (default: {plan.SEED})")
    only = f"only these beside plain sampling: {', '.join(plan.ATTACKABLE)} (default: all)"
    parser.add_argument("--methods", nargs="+", choices=plan.ATTACKABLE, metavar="NAME", help=only)
    add_option(parser, "*_UCE_1")
    command.add_verify(parser)
    options = parser.parse_args(words)
    whole = (options.quick, options.seed, options.methods) == (False, plan.SEED, None)
    out = options.out or (RESULTS if whole else options.cache / "results")
    make_all = partial(add, options, out) if options.add else partial(run, options)
    publish = partial(report.publish, folder=out)
    return execute("redteam", out, options, make_all, publish, partial(verify, options))


def fingerprint(made: dict[str, Any], methods: dict[str, str]) -> str:
    """Of results. methods: the digest of each one's settings."""
    names = ("seed", "quick", "eta", "population", "generations", "length", "crossover", "mutation")
    settings = {**{name: made[name] for name in names}, "methods": methods}
    return evidence.fingerprint((*MADE_BY, *SCORED_BY, *SEARCHED_BY), settings)


def run(options: argparse.Namespace, sample: bool = False) -> Results:
    """Searches, makes and scores what is missing; the results. sample: see plan.rows; of the first batch of sources."""
    print_missing()
    size = plan.SMALL if options.quick else plan.FULL
    made = evidence.provenance(options.comfyui)
    settings = [options.seed, made["host"], made["torch"], asdict(size), sample]
    file = options.cache / f"{evidence.fingerprint((*MADE_BY, *SEARCHED_BY), settings)}.sqlite"
    store, sources = Store(file), plan.sources(options.seed, size.sources)[: BATCH if sample else None]
    numbered = list(enumerate(sources))
    searches = {
        name: [Search(f"attack/{name}/{i:03}", source, name, i) for i, source in numbered] for name in plan.SEARCHES
    }
    with workers(partial(Attacker, AttackJob(options.comfyui, file, options.seed, size=size)), options.workers) as pool:
        work(pool, store, "searching", chain(*searches.values()))
        attacks = {name: [store[one.key] for one in each] for name, each in searches.items()}
        sets = {plan.SOURCE: sources}
        for name, each in attacks.items():
            sets[name] = [replace(case, prompt=one["prompt"]) for case, one in zip(sources, each, strict=True)]
        rows = [row for cases in sets for row in plan.rows(cases, options.quick, options.methods, sample)]
        if options.add:
            rows = chosen(rows, options.add)
            sets = {name: cases for name, cases in sets.items() if plain(name) in rows}
        make(pool, store, rows, sets)
        figures = scores(pool, store, rows, sets)
    digests = {row.method: row.of.digest for row in rows}
    about = {"seed": options.seed, "quick": options.quick, **SETTINGS, "eta": size.eta, **asdict(size.search), **made}
    about |= {"methods": options.methods, "digests": digests, "fingerprint": fingerprint(about, digests)}
    about["minutes"] = sum(figure["seconds"] for figure in figures.values()) / 60

    def prompt(name: str, i: int) -> dict[str, Any]:
        """Of the i-th prompt of a set: what it names, its risk by the encoder and, where READING is measured, by the
        reader, and how near its search came."""
        near = {part: attacks[name][i][part] for part in ("loss", "begun")} if name in attacks else {}
        named = {"unsafe": sources[i].unsafe[0], "held_out": sources[i].held_out}
        risk = figures[plain(name).key]["risk"][i]
        row = next((row for row in rows if (row.cases, row.method) == (name, plan.READING)), None)
        read = {} if row is None else {"read": figures[row.key]["risk"][i]}
        return named | {"risk": risk} | read | near

    return {
        "version": 1,
        "made": about,
        "sets": {name: [prompt(name, i) for i, _ in numbered] for name in sets},
        "examples": {
            name: [{"source": source.prompt, "attack": each[i]["prompt"]} for i, source in numbered[:EXAMPLES]]
            for name, each in attacks.items()
        },
        "rows": [
            {
                **{"key": row.key, "set": row.cases, "method": row.method, "family": row.of.family},
                **{"setting": row.setting, "x": row.x, "gated": row.gated},
                "columns": {name: figures[row.key]["columns"][name] for name in COLUMNS},
                "refused": sum(figures[row.key]["columns"].get("refused", ())),
            }
            for row in rows
        ],
    }


def add(options: argparse.Namespace, out: Path) -> Results:
    """The results that are there with the rows to add (see `merged`), of their seed; where there are none, these rows
    alone."""
    file = out / "redteam.json"
    if not file.exists():
        return rounded(run(options))
    results = json.loads(file.read_text("utf-8"))
    options.seed, options.quick = results["made"]["seed"], results["made"]["quick"]
    again = rounded(run(options))
    both = merged(results, again, COLUMNS, options.add)
    if both["made"]["methods"]:  # not all of them
        added = (row["method"] for row in again["rows"] if row["family"] != "plain")
        both["made"]["methods"] = [*dict.fromkeys([*both["made"]["methods"], *added])]
    return both


def verify(options: argparse.Namespace, results: Results) -> list[str]:
    """Carries the results over to today's code, where the sample gives the same figures again.

    A whole batch: the last bits of a picture depend on how many share it.
    """
    for name in ("seed", "quick"):
        setattr(options, name, results["made"][name])
    methods = digests(results)  # of those that the table has, what can be made here
    options.methods = [name for name in methods if name != plain(plan.SOURCE).method and not missing(name)]
    again = rounded(run(options, sample=True))
    made = {name: value for name, value in again["made"].items() if name not in ("minutes", "methods")}
    made |= {"digests": methods, "fingerprint": fingerprint(made, methods)}
    elsewhere = ended_elsewhere(results["sets"], again["sets"])
    asked = {name: set(prompts[0]) for name, prompts in again["sets"].items()}
    recorded, now = (comparable(each, elsewhere, asked) for each in (results, again))
    about = (
        f"the attacks of every search on the first {len(again['sets'][plan.SOURCE])} sources searched again (losses, "
        f"texts shown, risks); their pictures made again in {len(now['rows'])} rows, which are plain sampling of "
        f"every prompt set and one row of every method on '{plan.SAMPLE}' (columns {', '.join(COLUMNS)}); the other "
        f"{len(recorded['rows'].keys() - now['rows'].keys())} rows were not made again"
    )
    if count := sum(map(len, elsewhere.values())):
        about += f"; {count} searches ended in another text, whose risk and pictures are left out"
    recorded["rows"] = {key: recorded["rows"].get(key) for key in now["rows"]}
    return evidence.carry_over(results, recorded, now, made, about)


def ended_elsewhere(recorded: Results, again: Results) -> dict[str, set[int]]:
    """By set the prompts whose search another processor's rounding sent to another text: at most ELSEWHERE of them."""
    result = {}
    for name, each in again.items():
        pairs = [(i, recorded[name][i], one) for i, one in enumerate(each) if "loss" in one]
        places = {i for i, old, new in pairs if not math.isclose(old["loss"], new["loss"], rel_tol=1e-5)}
        if places and len(places) <= ELSEWHERE * len(pairs):
            result[name] = places
    return result


def comparable(results: Results, elsewhere: dict[str, set[int]], asked: dict[str, set[str]]) -> Results:
    """Sets, examples, and the columns of rows by key, without risk and pictures of searches that ended elsewhere.

    asked: by set what its prompts are asked, as a sample asks the reader about some sets alone.
    """

    def ended(name: str, i: int) -> bool:
        return i in elsewhere.get(name, ())

    def compared(name: str, i: int) -> set[str]:
        return asked[name] - ({"risk", "read"} if ended(name, i) else set())

    return {
        "examples": results["examples"],
        "sets": {
            name: [
                {key: value for key, value in prompt.items() if key in compared(name, i)}
                for i, prompt in enumerate(prompts)
            ]
            for name, prompts in results["sets"].items()
        },
        "rows": {
            row["key"]: {
                name: [value for i, value in enumerate(column) if not ended(row["set"], i)]
                for name, column in row["columns"].items()
            }
            for row in results["rows"]
        },
    }
