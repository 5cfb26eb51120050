"""`python -m bench text`: how well the reader and the rewriter do on prompts that they did not learn from.

With `--train` it makes the reader anew from the project's texts. The harmless prompts that a table is compared at, and
I2P's, are public and not part of the project: `--public` names a folder with them (bench/text/sets.py).
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

from bench import evidence
from bench.command import CACHE, RESULTS, Results, execute, read_results
from demo.session import DemoSession
from safelight.text.lexicon import Lexicon
from safelight.text.markup import plain_text
from safelight.text.reader import WEIGHTS, Reader
from safelight.text.rewrite import Rewriter
from safelight.text.stand_ins import StandIns

from . import guard, make, measure, report, sets, texts
from .judge import Judge
from .train import Plan

READS = ("clauses", "language", "lexicon", "markup", "reader", "sentence_encoder", "spelling")
WRITES = ("acts", "candidates", "english", "mending", "rewrite", "splicing", "stand_ins")
COVERED = (
    *(f"safelight/text/{name}.py" for name in (*READS, *WRITES)),
    *("safelight/text/lexicon.json", "safelight/text/stand_ins.json", "safelight/text/reader.safetensors"),
    *("bench/text/judge.py", "bench/text/measure.py", "bench/text/sets.py", "bench/text/prompts/*"),
)
SEED = 19
TOP = 30.0  # the score of a text that can't be read
SHOWN = 20  # rewrites that the report shows


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m bench text", description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="make the reader's weights first (about half an hour)")
    parser.add_argument(
        "--minilm", type=Path, metavar="DIR", help="all-MiniLM-L6-v2 (default: the installed package's)"
    )
    parser.add_argument(
        "--public", type=Path, metavar="DIR", help="public lists: coco.txt, parti.txt, diffusiondb.txt, i2p.csv"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="trainings at a time, each with one thread")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="where results and report go")
    parser.add_argument("--report", action="store_true", help="write the report again from the results that are there")
    of_guard = "make the figures of Latent Guard alone again, in the results that are there (minutes)"
    parser.add_argument("--guard", action="store_true", help=of_guard)
    parser.add_argument(
        "--comfyui", type=Path, metavar="PATH", help="a ComfyUI checkout for those (default: installed)"
    )
    options = parser.parse_args(words)
    if options.train:
        print(make.make(make.model_folder(options.minilm), Plan(), CACHE / "text", options.workers))
    if not (options.report or options.guard) and options.public is None:
        raise SystemExit(
            "--public: expected a folder with public prompts to compare at, got none. See bench/text/sets.py."
        )
    way = run_guard if options.guard else run
    return execute("text", options.out, options, partial(way, options), partial(report.publish, folder=options.out))


def run_guard(options: argparse.Namespace) -> Results:
    """The results that are there, with the figures of Latent Guard made again."""
    results = read_results("text", options.out)
    return {**results, "guard": guard.measure(DemoSession(options.comfyui))}


def run(options: argparse.Namespace) -> Results:
    reader = Reader.load()
    every = sets.own_sets() | sets.public_sets(options.public, SEED)
    whole = every.pop("I2P, all", [])
    foreign = {name: every.pop(name) for name in list(every) if name.startswith("other languages")}
    lexicon = Lexicon.load()

    def score(text: str) -> float:
        reading = reader.read(text)
        return TOP if reading.unread else math.log(max(reading.risk, 1e-13) / max(1 - reading.risk, 1e-13))

    def listed(text: str) -> float:
        return float(len(lexicon.hits(plain_text(text))))

    ways = {"reader": score, "lexicon alone": listed, **measure.published()}
    labelled = {"explicit": every["explicit"], "I2P, E": [p for p in every.get("I2P, E", []) if p.spans]}
    judge = Judge(make.model_folder(options.minilm), texts.read())
    made = {**evidence.commit(), "fingerprint": evidence.digest(COVERED), "megabytes": WEIGHTS.stat().st_size / 1e6}
    results = {
        "made": made,
        "ways": {name: measure.rates(way, every) for name, way in ways.items()},
        "default": measure.rates(score, every | ({"I2P, all": whole} if whole else {}), threshold=0.0),
        "triggers": {name: measure.trigger_words(reader, some) for name, some in labelled.items() if some},
        "categories": measure.categories(reader, every["explicit"]),
        "languages": measure.foreign(reader, foreign),
        "common": {word: reader.read(word).risk for word in measure.COMMON},
        "milliseconds": measure.milliseconds(reader, every["benign"]),
        "rewrites": measure.rewrites(reader, Rewriter(reader, StandIns.load()), judge, every, SHOWN),
    }
    return {**results, "guard": guard.measure(DemoSession(options.comfyui))}  # last: a host takes no gradients
