"""Worker processes with one thread each; each builds what it needs (a host, the demo model) when it first needs it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
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
    multiprocessing.parent_process().join()  # type: ignore[union-attr]
    os._exit(1)


def _do(task: Any) -> None:
    _work(task)


class Pool(ProcessPoolExecutor):
    def done(self, tasks: Sequence[Task], alone: bool = False) -> Iterator[Task]:
        """Does them all; yields each when it is done, and raises what a task raises. alone: one at a time."""
        for part in [[task] for task in tasks] if alone else [tasks]:
            futures = {self.submit(_do, task): task for task in part}
            for future in as_completed(futures):
                future.result()
                yield futures[future]

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)


def workers(worker: Callable[[], Callable[[Any], None]], count: int) -> Pool:
    """worker: called once in each process, gives what does a task.

    What is being done when the `with` is left by an error or Ctrl+C is finished, and nothing further is begun.
    """
    return Pool(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(worker,))
