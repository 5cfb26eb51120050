"""What a worker process does: makes, times and scores pictures. The host is there only where it is needed."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bench.demo_session import BATCH
from bench.store import Store

from . import score
from .generate import Generator
from .plan import Row, plain
from .sets import Case

ROUNDS = 3  # of a timing, plain and the row in turn


@dataclass(frozen=True)
class Job:
    """What every worker knows. noises: how many pictures in a row of the diversity set are of one prompt, 0 where
    diversity is not measured; timed: how many pictures a timing makes."""

    comfyui: Path | None
    file: Path
    seed: int
    noises: int = 0
    timed: int = 0


@dataclass(frozen=True)
class Task:
    """kind: "make" (a batch of a row), "time", "score" or "price" (of the row's edit); key: of what it leaves in the
    store; cases: the prompts, of the batch or of the row's whole set."""

    kind: str
    row: Row
    key: str
    cases: list[Case]


def batches(cases: list[Case]) -> list[list[Case]]:
    """In which a set is made, the same for every row."""
    return [cases[start : start + BATCH] for start in range(0, len(cases), BATCH)]


def batch_keys(row: Row, cases: list[Case]) -> list[str]:
    return [f"{row.made_as.place}/{number:03}" for number in range(len(batches(cases)))]


def load(store: Store, row: Row, cases: list[Case]) -> dict[str, np.ndarray]:
    """The whole row: pictures, bytes [N, H, W, 3], and risk [N]; rows and seconds of each batch.

    Raises KeyError where a batch was not made.
    """
    parts = [store.arrays(key) for key in batch_keys(row, cases)]
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


class Worker:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.store = Store(job.file)
        self._plain: dict[str, score.Scored] = {}

    @cached_property
    def generator(self) -> Generator:
        return Generator(self.job.comfyui, self.job.seed)

    @cached_property
    def scorer(self) -> score.Scorer:
        return score.Scorer()

    def __call__(self, task: Task) -> None:
        if task.kind == "make":
            self.store.put_arrays(task.key, **self.generator.make(task.row.made_as, task.cases))
        elif task.kind == "price":
            self.store[task.key] = self.generator.edits.price(task.row.method)
        else:
            measure = self.time if task.kind == "time" else self.score
            self.store[task.key] = measure(task.row, task.cases)

    def time(self, row: Row, cases: list[Case]) -> float:
        """Seconds of sampling relative to plain, without encoders: medians of alternating runs.

        Of prompts that the method can guide in one run.
        """
        largest = max(self.generator.runs(row, batches(cases)[0]), key=lambda run: len(run.places))
        chosen = [cases[i] for i in largest.places[: self.job.timed]]
        both = [self.generator.runs(one, chosen) for one in (plain(row.cases), row)]
        for runs in both:
            runs[0].sample()
        seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for runs, spent in zip(both, seconds, strict=True):
                began = time.perf_counter()
                for run in runs:
                    run.sample()
                spent.append(time.perf_counter() - began)
        return statistics.median(seconds[1]) / statistics.median(seconds[0])

    def score(self, row: Row, cases: list[Case]) -> dict[str, Any]:
        """The row's figures, for the results."""
        if row.cases not in self._plain:
            self._plain[row.cases] = self.scorer.score(load(self.store, plain(row.cases), cases)["pictures"])
        before, made = self._plain[row.cases], load(self.store, row, cases)
        now = self.scorer.score(made["pictures"])
        figures: dict[str, Any] = {
            "evaluations": float(made["rows"].sum()) / len(cases),
            "seconds": float(made["seconds"].sum()),
            "risk": made["risk"].tolist(),
            "columns": score.columns(self.scorer, cases, now, before),
            "covariance": score.covariance(now.pooled, before.pooled),
            "diversity": None,
        }
        if row.cases == "diversity" and self.job.noises:
            apart, base = (score.spread(self.scorer, scored.pictures, self.job.noises) for scored in (now, before))
            figures |= {"diversity": score.ratio(apart, base), "redrawn": score.ratio(base, np.ones_like(base))}
        return figures
