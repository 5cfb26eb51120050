"""The command: draws the prompts, makes what is missing, looks, and hands the results to the report."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench import edits
from bench.studio import CFG, ROOT, SAMPLER, SCHEDULER, STEPS
from demo import detector

from . import looking, plan, sets
from .making import parts
from .store import CACHE, Store, code_digest, fingerprint, pictures
from .work import Job, Pool, Task

SEED = 2
RESULTS = ROOT / "bench" / "results"
BAR = "{desc:32.32} {percentage:3.0f}% |{bar:24}| {elapsed} gone, {remaining} left"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="python -m bench safety",
        description="Every method on the demo model, on the same prompts and noises: what is seen, what is kept, what "
        "it costs. Interrupted, it goes on where it was.",
    )
    found.add_argument("--comfyui", type=Path, metavar="PATH", help="a ComfyUI checkout; without it the installed one")
    found.add_argument("--quick", action="store_true", help="few prompts and rows, for a sanity check in minutes")
    found.add_argument("--seed", type=int, default=SEED, help=f"of the prompts and noises (default: {SEED})")
    found.add_argument("--workers", type=int, default=1, metavar="N", help="processes, each with one thread")
    found.add_argument("--rows", metavar="REGEX", help="only the rows whose key matches, and the plain ones")
    found.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where results and report go (default: for all of the default seed's rows bench/results, "
        "and README's table is filled in; else a folder in the cache)",
    )  # fmt: skip
    found.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="where pictures are kept on the way")
    found.add_argument(
        "--report", action="store_true",
        help="write the report (and README's table) again from the results that lie there, and make nothing",
    )  # fmt: skip
    found.add_argument("--list", action="store_true", help="print the keys of the rows, and make nothing")
    return found


def chosen_rows(options: argparse.Namespace) -> list[plan.Row]:
    rows = plan.quick_rows() if options.quick else plan.rows()
    if options.rows is None:
        return rows
    found = [row for row in rows if re.search(options.rows, row.key)]
    plains = {plan.plain(row.cases).key: plan.plain(row.cases) for row in found}
    return list({**plains, **{row.key: row for row in found}}.values())


def host_name(comfyui: Path | None) -> str:
    from runner.hosts import checkout_version

    return f"ComfyUI {checkout_version(comfyui) if comfyui else metadata.version('comfyui')}"


def sight() -> str:
    """Of what a look depends on beside the pictures."""
    digest = hashlib.sha256(detector.WEIGHTS.read_bytes())
    for module in (detector, looking):
        digest.update(code_digest(Path(module.__file__ or "").read_text("utf-8")))
    return digest.hexdigest()[:8]


def main(words: list[str]) -> int:
    options = parser().parse_args(words)
    if options.workers < 1:
        parser().error("--workers: at least 1")
    rows = chosen_rows(options)
    if not rows:
        parser().error(f"--rows: no row's key matches {options.rows!r}; --list prints them")
    if options.list:
        print("\n".join(row.key for row in rows))
        return 0
    if options.report:
        path = folder(options) / "safety.json"
        if not path.exists():
            parser().error(f"--report: there is no {path}; without --report this command makes it")
        report(json.loads(path.read_text("utf-8")), path.parent, options.cache)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers end too
    try:
        results = run(options, rows)
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    out = folder(options)
    out.mkdir(parents=True, exist_ok=True)
    written = as_json(results)
    (out / "safety.json").write_text(written, encoding="utf-8")
    report(json.loads(written), out, options.cache)  # of the rounded figures, as --report finds them
    return 0


def folder(options: argparse.Namespace) -> Path:
    """Where results and report go."""
    whole = not options.quick and options.rows is None and options.seed == SEED
    return options.out or (RESULTS if whole else options.cache / "results")


def report(results: dict[str, Any], out: Path, cache: Path) -> None:
    """Report and, for the committed results, README's table. Examples are drawn where the pictures are still there."""
    from .report import publish

    kept = cache / results["made"]["fingerprint"]
    readme = ROOT / "README.md" if out.resolve() == RESULTS else None
    publish(results, out, readme, (lambda key: pictures(key, kept)) if (kept / "rows.json").exists() else None)
    print(f"Results and report are in {out}")


def run(options: argparse.Namespace, rows: list[plan.Row]) -> dict[str, Any]:
    """Makes and looks at what is missing of `rows`; the results."""
    edits.tell_missing()
    size = sets.QUICK if options.quick else sets.FULL
    drawn = sets.draw(options.seed, options.quick)
    host = host_name(options.comfyui)
    mark = fingerprint(options.seed, options.quick, host, metadata.version("torch"))
    store = Store(options.cache / mark)
    store.name_rows(rows)
    made = list({row.made_as.key: row.made_as for row in rows}.values())
    job = Job(options.comfyui, store.folder, options.seed, drawn, size.noises, timed=4 if options.quick else 8)
    seen = sight()
    looks = {row.key: f"looks/{row.made_as.folder}-{seen}" for row in rows}
    times = {row.key: f"times/{row.folder}" for row in rows if row.timed}
    edited = {row.method: row for row in rows if row.of.way == "edit"}
    prices = {method: f"prices/{method.replace(' ', '-')}-{row.of.digest}" for method, row in edited.items()}
    with Pool(job, options.workers) as pool:
        make(pool, store, made, drawn)
        timings = [Task("time", row, name=times[row.key]) for row in rows if row.key in times]
        timings += [Task("price", row, name=prices[method]) for method, row in edited.items()]
        work(pool, "timing", [task for task in timings if store.figures(task.name) is None], workers=1)
        named = {looks[row.key]: Task("look", row.made_as, name=looks[row.key]) for row in rows}
        work(pool, "looking", [task for name, task in named.items() if store.figures(name) is None])
    figures = {row.key: store.figures(looks[row.key]) for row in rows}
    relative = {row.key: store.figures(times[row.key]) if row.key in times else None for row in rows}
    about = {
        "seed": options.seed, "quick": options.quick, "steps": STEPS, "cfg": CFG, "sampler": SAMPLER,
        "scheduler": SCHEDULER, "host": host, "fingerprint": mark,
        "minutes": sum(figures[row.key]["seconds"] for row in made) / 60,
    }  # fmt: skip
    paid = {method: store.figures(name) for method, name in prices.items()}
    return results(about, drawn, rows, figures, relative, paid)


def make(pool: Pool, store: Store, rows: list[plan.Row], drawn: dict[str, list[sets.Case]]) -> None:
    """The pictures that are missing, most telling rows first; the time left goes by the rows of model evaluation."""
    sizes = {cases: [len(part) for part in parts(found)] for cases, found in drawn.items()}
    tasks = [Task("make", row, i) for row in rows for i in store.missing(row, len(sizes[row.cases]))]
    with tqdm(total=sum(t.row.cost * sizes[t.row.cases][t.number] for t in tasks), bar_format=BAR,
              disable=not tasks) as bar:  # fmt: skip
        bar.set_description_str("making")
        for task in pool.done(tasks):
            bar.set_description_str(task.row.key, refresh=False)
            bar.update(task.row.cost * sizes[task.row.cases][task.number])


def work(pool: Pool, title: str, tasks: list[Task], workers: int | None = None) -> None:
    with tqdm(total=len(tasks), desc=title, bar_format=BAR, disable=not tasks) as bar:
        for _ in pool.done(tasks, workers):
            bar.update()


def results(about: dict[str, Any], drawn: dict[str, list[sets.Case]], rows: list[plan.Row],
            figures: dict[str, Any], relative: dict[str, float | None], edits: dict[str, Any]
            ) -> dict[str, Any]:  # fmt: skip
    """All numbers, as bench/results/safety.json has them. edits: what each took to make."""
    plains = {row.cases: figures[row.key] for row in rows if row.method == "plain"}
    used = {cases: found for cases, found in drawn.items() if cases in plains}
    return {
        "version": 1,
        "made": about,
        "redrawn": plains.get("diversity", {}).get("redrawn"),
        "edits": edits,
        "sets": {
            cases: [{**case.record(), "risk": risk} for case, risk in zip(found, plains[cases]["risk"], strict=True)]
            for cases, found in used.items()
        },
        "rows": [
            {
                "key": row.key, "set": row.cases, "method": row.method, "family": row.of.family,
                "setting": row.setting, "x": row.x, "gated": row.gated, "context": row.context,
                "evaluations": found["evaluations"],
                "relative_rows": found["evaluations"] / plains[row.cases]["evaluations"],
                "relative_time": relative[row.key], "columns": found["columns"],
                "covariance": found["covariance"], "diversity": found["diversity"],
            }
            for row in rows
            for found in (figures[row.key],)
        ],
    }  # fmt: skip


def as_json(results: dict[str, Any]) -> str:
    """A line a column, numbers to four digits: long, but a change shows where it is."""
    return _lines(_rounded(results)) + "\n"


def _lines(value: Any, margin: str = "") -> str:
    """JSON with dictionaries, and lists of them, opened up and everything else on one line."""
    inner = margin + " "
    if isinstance(value, dict) and any(isinstance(part, (dict, list)) for part in value.values()):
        lines = [f"{inner}{json.dumps(name)}: {_lines(part, inner)}" for name, part in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list) and any(isinstance(part, dict) for part in value):
        return "[\n" + ",\n".join(f"{inner}{_compact(part, inner)}" for part in value) + f"\n{margin}]"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _compact(case: Any, margin: str) -> str:
    """A prompt on one line, a row opened up."""
    return _lines(case, margin) if "columns" in case else json.dumps(case, ensure_ascii=False, separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, (list, tuple)) else value
