"""The table by which the reader tells English from other languages: a logistic regression (language.py)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from safelight.text.language import BUCKETS, PRIOR, features

from .texts import FOLDER

ENGLISH = "en"
PENALTY = 1e-5  # of the squares
WEIGHT = 3.0  # of an English text beside one of another language
SHORT = range(2, 7)  # words of the pieces of longer texts that are learned too


def read(folder: Path = FOLDER) -> list[tuple[str, str]]:
    """Texts and their languages' codes."""
    lines = (folder / "languages.txt").read_text("utf-8").splitlines()
    return [(text, code) for code, text in (line.split("\t") for line in lines)]


def train(texts: Sequence[tuple[str, str]], english: Iterable[str], words: Iterable[str], seed: int) -> torch.Tensor:
    """The table [BUCKETS + 1]. english: further English texts; words: single English ones."""
    rng = random.Random(seed)
    labelled = [(text, code != ENGLISH) for text, code in texts] + [(text, False) for text in english]
    labelled += [(_piece(text, rng), foreign) for text, foreign in labelled if len(text.split()) > SHORT.stop]
    strange = {word.lower() for text, foreign in labelled if foreign for word in text.split()}
    labelled += [(word, False) for word in words if word not in strange]
    inputs = torch.stack([_row(text) for text, _ in labelled])
    target = torch.tensor([float(foreign) for _, foreign in labelled])
    weight = torch.where(target > 0, 1.0, WEIGHT)
    table = torch.zeros(BUCKETS + 1, requires_grad=True)
    optimizer = torch.optim.LBFGS([table], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(inputs @ table, target, weight) + PENALTY * table[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return table.detach()


def _piece(text: str, rng: random.Random) -> str:
    words = text.split()
    count = rng.choice(SHORT)
    start = rng.randrange(len(words) - count + 1)
    return " ".join(words[start : start + count])


def _row(text: str) -> torch.Tensor:
    places = features(text)
    row = torch.zeros(BUCKETS + 1)
    row.index_add_(0, torch.tensor(places, dtype=torch.long), torch.full((len(places),), (len(places) + PRIOR) ** -0.5))
    row[BUCKETS] = 1.0
    return row
