"""Worker processes with one thread each; each builds what it needs (a host, the demo model) when it first needs it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, TypeVar

Task = TypeVar("Task")
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
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do(task: Any) -> None:
    _work(task)


class Pool:
    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def done(self, tasks: Sequence[Task], alone: bool = False) -> Iterator[Task]:
        """Does them all; yields each when it is done, and raises what a task raises. alone: one at a time."""
        if alone:
            for task in tasks:
                self._executor.submit(_do, task).result()
                yield task
            return
        futures = {self._executor.submit(_do, task): task for task in tasks}
        for future in as_completed(futures):
            future.result()
            yield futures[future]


@contextmanager
def workers(worker: Callable[[], Callable[[Any], None]], count: int) -> Iterator[Pool]:
    """worker: called once in each process, gives what does a task.

    What is being done when the block is left by an error or Ctrl+C is finished, and nothing further is begun.
    """
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(worker,))
    try:
        yield Pool(executor)
    finally:
        executor.shutdown(cancel_futures=True)
