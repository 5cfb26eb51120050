"""Worker processes with one thread each; each builds what it needs (a host, the demo model) when it first needs it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from .store import Store

BAR = "{desc:32.32} {percentage:3.0f}% |{bar:24}| {elapsed} gone, {remaining} left"
_work: Callable[[Any], None]


def _begin(worker: Callable[[], Callable[[Any], None]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.WARNING)  # the host's greeting
    import torch

    torch.set_num_threads(1)  # pictures are to be the same, whatever the number of workers
    torch.set_grad_enabled(False)
    global _work
    _work = worker()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)


def _do(task: Any) -> None:
    _work(task)


@contextmanager
def workers(worker: Callable[[], Callable[[Any], None]], count: int) -> Iterator[ProcessPoolExecutor]:
    """worker: called once in each process, gives what does a task.

    What is being done when the `with` is left by an error or Ctrl+C is finished, and nothing further is begun.
    """
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(worker,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def work(pool: ProcessPoolExecutor, store: Store, title: str, tasks: Iterable[Any], alone: bool = False) -> None:
    """Does those whose `key` the store lacks; raises what a task raises. alone: one at a time."""
    lacking = [task for task in tasks if task.key not in store]
    with tqdm(total=len(lacking), desc=title, bar_format=BAR, disable=not lacking) as bar:
        for part in [[task] for task in lacking] if alone else [lacking]:
            for future in as_completed([pool.submit(_do, task) for task in part]):
                future.result()
                bar.update()
