"""Worker processes that make, time and look at pictures: one thread each, and a host only where it is needed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import statistics
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import looking
from .making import Maker, parts
from .plan import Row, plain
from .sets import Case
from .store import Store

ROUNDS = 3  # of a timing, plain and the row in turn
WAIT = 5.0  # seconds between looks at whether the other side still lives


@dataclass(frozen=True)
class Job:
    """What every worker knows. noises: how many pictures in a row of the diversity set are of one prompt; timed: how
    many pictures a timing makes."""

    comfyui: Path | None
    folder: Path
    seed: int
    sets: dict[str, list[Case]]
    noises: int
    timed: int

    def worker(self) -> Worker:
        return Worker(self)


@dataclass(frozen=True)
class Task:
    """kind: "make" (the part `number` of a row), "time", "look" or "price" (of the row's edit); name: under which the
    figures are kept."""

    kind: str
    row: Row
    number: int = 0
    name: str = ""


class Worker:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.store = Store(job.folder)
        self._maker: Maker | None = None
        self._looker: looking.Looker | None = None
        self._plain: dict[str, looking.Look] = {}

    @property
    def maker(self) -> Maker:
        self._maker = self._maker or Maker(self.job.comfyui, self.job.seed)
        return self._maker

    @property
    def looker(self) -> looking.Looker:
        self._looker = self._looker or looking.Looker()
        return self._looker

    def do(self, task: Task) -> None:
        cases = self.job.sets[task.row.cases]
        if task.kind == "make":
            self.store.save(task.row, task.number, self.maker.make(task.row.made_as, parts(cases)[task.number]))
        elif task.kind == "price":
            self.store.keep(task.name, self.maker.edits.price(task.row.method))
        else:
            self.store.keep(task.name, self.time(task.row, cases) if task.kind == "time" else self.look(task.row))

    def time(self, row: Row, cases: list[Case]) -> float:
        """Seconds of sampling relative to plain, without encoders: medians of alternating runs.

        Of prompts that the method can guide in one run.
        """
        largest = max(self.maker.runs(row, parts(cases)[0]), key=lambda run: len(run.places))
        chosen = [cases[i] for i in largest.places[: self.job.timed]]
        both = [self.maker.runs(one, chosen) for one in (plain(row.cases), row)]
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

    def look(self, row: Row) -> dict[str, Any]:
        """The row's figures, for the results."""
        cases = self.job.sets[row.cases]
        count = len(parts(cases))
        if row.cases not in self._plain:
            self._plain[row.cases] = self.looker.look(self.store.load(plain(row.cases), count).pictures)
        made, before = self.store.load(row, count), self._plain[row.cases]
        now = self.looker.look(made.pictures)
        found: dict[str, Any] = {
            "evaluations": made.rows / len(cases), "seconds": made.seconds, "risk": made.risk.tolist(),
            "columns": looking.columns(self.looker, cases, now, before),
            "covariance": looking.covariance(now.pooled, before.pooled), "diversity": None,
        }  # fmt: skip
        if row.cases == "diversity":
            own, base = (looking.spread(self.looker, look.pictures, self.job.noises) for look in (now, before))
            found["diversity"] = looking.ratio(own, base)
            found["redrawn"] = looking.mean(base)
        return found


def _serve(job: Job, tasks: Any, answers: Any, parent: int) -> None:
    """The life of a worker process: a task, an answer (None, or what went wrong)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    logging.disable(logging.WARNING)  # the host's greeting
    import torch

    torch.set_num_threads(1)  # pictures are to be the same, whatever the number of workers
    torch.set_grad_enabled(False)
    worker = job.worker()
    while os.getppid() == parent:
        try:
            task = tasks.get(timeout=WAIT)
        except queue.Empty:
            continue
        if task is None:
            return
        try:
            worker.do(task)
            answers.put((task, None))
        except Exception:  # told to the parent, whatever it is
            answers.put((task, traceback.format_exc()))


class Pool:
    """Workers for the time of a `with`. They start with the first task."""

    def __init__(self, job: Job, workers: int) -> None:
        self.job, self.workers = job, workers
        context = multiprocessing.get_context("spawn")
        self._tasks, self._answers = context.Queue(), context.Queue()
        self._process = context.Process
        self._started: list[Any] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, fault: object, *_: object) -> None:
        for process in self._started:
            if fault is None:
                self._tasks.put(None)
            else:
                process.terminate()
        for process in self._started:
            process.join()

    def done(self, tasks: Sequence[Task], workers: int | None = None) -> Iterator[Task]:
        """Does them all, in their order as far as several workers allow it; yields each when it is done.

        Raises RuntimeError with a worker's words where one failed or died.
        """
        wanted = min(workers or self.workers, len(tasks))
        while len(self._started) < wanted:
            arguments = (self.job, self._tasks, self._answers, os.getpid())
            process = self._process(target=_serve, args=arguments, daemon=True)
            process.start()
            self._started.append(process)
        waiting = list(tasks)
        for task in waiting[:wanted]:  # as many at a time as are to work at once
            self._tasks.put(task)
        todo, left = waiting[wanted:], len(tasks)
        while left:
            try:
                task, fault = self._answers.get(timeout=WAIT)
            except queue.Empty:
                if any(not process.is_alive() for process in self._started):
                    raise RuntimeError("a worker process ended by itself; was memory short?") from None
                continue
            if fault:
                raise RuntimeError(f"{task.kind} {task.row.key}: {fault}")
            if todo:
                self._tasks.put(todo.pop(0))
            left -= 1
            yield task
