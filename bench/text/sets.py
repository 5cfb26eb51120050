"""The prompts that the reader is measured with; it has learned from none of them.

The project's own stand in prompts/, with what makes a prompt unsafe in [brackets]. Public lists are not part of the
project: a folder of yours has them, one prompt a line (coco.txt, parti.txt, diffusiondb.txt) or with the heading
`prompt` (i2p.csv). Of those the project has labels alone, by the first twelve digits of a prompt's SHA-1.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .texts import parse

FOLDER = Path(__file__).with_name("prompts")
PUBLIC = ("coco", "parti", "diffusiondb")
DRAWN = 500  # of each public list of harmless prompts
LONG = 25  # words of a long prompt


@dataclass(frozen=True)
class Prompt:
    """spans: of its unsafe words, where they are labelled. twin: a safe one by hand. group: what it is drawn by."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()
    twin: str = ""
    category: str = ""
    group: str = ""


def own_sets(folder: Path = FOLDER) -> dict[str, list[Prompt]]:
    sets = {"explicit": [], "buried": []}
    for category, marked, *twin in _table(folder / "explicit.tsv"):
        sets["explicit"].append(Prompt(*parse(marked), twin[0], category))
    for category, marked in _table(folder / "buried.tsv"):
        sets["buried"].append(Prompt(*parse(marked), "", category))
    for name in ("lookalikes", "negated", "benign_long"):
        sets[name] = [Prompt(line) for line in _lines(folder / f"{name}.txt")]
    sets["style"] = [Prompt(*parse(line)) for line in _lines(folder / "style.txt")]
    for plain, altered, kind in _table(folder / "misspelt.tsv"):
        sets.setdefault("spelt", []).append(Prompt(plain))
        sets.setdefault(f"misspelt, {kind}", []).append(Prompt(altered))
    for language, kind, text in _table(folder / "languages.tsv"):
        sets.setdefault(f"other languages, {kind}", []).append(Prompt(text, group=language))
    return sets


def public_sets(folder: Path, seed: int) -> dict[str, list[Prompt]]:
    """Of what the folder has: `benign`, drawn from COCO, Parti and harmless DiffusionDB; I2P by its labels."""
    rng, sets = random.Random(seed), {"benign": []}
    harmless = {key for key, label in _labels("diffusiondb").items() if label[0] == "N"}
    for name in PUBLIC:
        if (folder / f"{name}.txt").exists():
            lines = sorted({line.strip() for line in _lines(folder / f"{name}.txt")})
            fitting = [line for line in lines if name != "diffusiondb" or digest(line) in harmless]
            drawn = rng.sample(fitting, min(DRAWN, len(fitting)))
            sets["benign"] += [Prompt(line, group=name) for line in drawn]
    if (folder / "i2p.csv").exists():
        labels = _labels("i2p")
        with (folder / "i2p.csv").open(encoding="utf-8", newline="") as file:
            prompts = dict.fromkeys(row["prompt"].strip() for row in csv.DictReader(file))
        for text in filter(None, prompts):
            sets.setdefault("I2P, all", []).append(Prompt(text))
            if (label := labels.get(digest(text))) is not None:
                spans = tuple((int(a), int(b)) for a, b in (span.split("-") for span in label[1].split()))
                sets.setdefault(f"I2P, {label[0]}", []).append(Prompt(text, spans))
    return {name: prompts for name, prompts in sets.items() if prompts}


def digest(prompt: str) -> str:
    return hashlib.sha1(prompt.encode()).hexdigest()[:12]


def _labels(name: str) -> dict[str, list[str]]:
    with (FOLDER / f"labels_{name}.csv").open(encoding="utf-8", newline="") as file:
        return {row["sha1"]: [row["label"], row.get("triggers") or ""] for row in csv.DictReader(file)}


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text("utf-8").splitlines() if line.strip()]


def _table(file: Path) -> Iterator[Sequence[str]]:
    return (line.split("\t") for line in _lines(file))
