"""Worker processes: bench/pool.py."""

import pydoc
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from bench.pool import workers

TOUCH = partial(getattr, Path, "touch")  # each process gets Path.touch for its tasks
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Worker processes begin anew, and import bench."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_every_task_is_done_once_it_comes_back(tmp_path):
    tasks = [tmp_path / str(i) for i in range(6)]
    with workers(TOUCH, 2) as pool:
        for task in pool.done(tasks):
            assert task.exists()
        assert all(task.exists() for task in tasks)
        alone = [tmp_path / "alone", tmp_path / "after"]
        assert list(pool.done(alone, alone=True)) == alone


def test_a_fault_in_a_worker_is_raised_and_nothing_further_is_begun(tmp_path):
    tasks = [tmp_path / "nowhere" / "file", *(tmp_path / str(i) for i in range(50))]
    with pytest.raises(FileNotFoundError, match="nowhere"), workers(TOUCH, 1) as pool:
        list(pool.done(tasks))
    assert sum(task.exists() for task in tasks) < 50


def test_a_worker_that_dies_is_an_error():
    with pytest.raises(BrokenProcessPool), workers(partial(pydoc.locate, "os._exit"), 1) as pool:
        list(pool.done([1]))
