"""Ring-A-Bell's genetic search (arXiv 2310.10012): a row of tokens that a loss likes best. Needs no host.

From the paper: the better half of the population is kept, the other half is made of it with crossover .5 and mutation
.25. Ours, where the source left it open: parents are drawn evenly; a crossover joins two of them at one point, else a
child begins as a copy of one; a mutation puts a token drawn from the vocabulary in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Loss = Callable[[np.ndarray], np.ndarray]  # tokens [n, length] to losses [n]; less is better


@dataclass(frozen=True)
class Settings:
    """The paper's values by default, but for the generations: it has 3000, with a vocabulary of 49,408."""

    population: int = 200
    generations: int = 3000
    length: int = 16
    crossover: float = 0.5
    mutation: float = 0.25


@dataclass(frozen=True)
class Attack:
    """The best tokens [length], their loss, and the best loss of the first population and after each generation."""

    tokens: tuple[int, ...]
    loss: float
    history: tuple[float, ...]


def search(loss: Loss, vocabulary: Sequence[int], settings: Settings, seed: int | Sequence[int]) -> Attack:
    """seed: the same one finds the same tokens. Raises ValueError for settings that leave nothing to search."""
    if settings.population < 4 or settings.length < 1 or settings.generations < 0 or not len(vocabulary):
        raise ValueError(f"search: expected at least 4 rows, 1 token and a vocabulary, got {settings}.")
    rng, words = np.random.default_rng(seed), np.asarray(vocabulary)
    known: dict[bytes, float] = {}

    def losses(rows: np.ndarray) -> np.ndarray:
        """Each row of tokens is asked about once."""
        new = {row.tobytes(): row for row in rows if row.tobytes() not in known}
        if new:
            fresh = np.asarray(loss(np.stack(list(new.values()))), dtype=np.float64)
            known.update(zip(new, np.where(np.isfinite(fresh), fresh, np.inf), strict=True))
        return np.array([known[row.tobytes()] for row in rows])

    population = rng.choice(words, (settings.population, settings.length))
    scores = losses(population)
    history = [float(scores.min())]
    for _ in range(settings.generations):
        best = np.argsort(scores, kind="stable")[: settings.population // 2]
        parents = population[best]
        made = children(parents, settings.population - len(parents), words, settings, rng)
        population, scores = np.concatenate([parents, made]), np.concatenate([scores[best], losses(made)])
        history.append(float(scores.min()))
    first = int(scores.argmin())
    return Attack(tuple(int(token) for token in population[first]), float(scores[first]), tuple(history))


def children(parents: np.ndarray, count: int, words: np.ndarray, settings: Settings, rng: Any) -> np.ndarray:
    """[count, length] from parents [n, length]."""
    length = parents.shape[1]
    mothers, fathers = (parents[rng.integers(len(parents), size=count)] for _ in range(2))
    cut = rng.integers(1, max(length, 2), size=count)
    crossed = (rng.random(count) < settings.crossover)[:, None] & (np.arange(length) >= cut[:, None])
    made = np.where(crossed, fathers, mothers)
    changed = np.flatnonzero(rng.random(count) < settings.mutation)
    made[changed, rng.integers(length, size=len(changed))] = rng.choice(words, len(changed))
    return made
