"""Worker processes: bench/pool.py."""

import pydoc
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from bench.pool import work, workers

TOUCH = partial(getattr, Path, "touch")  # each process gets Path.touch for its tasks
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Worker processes begin anew, and import bench."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_every_task_is_done_when_work_ends(tmp_path):
    tasks = [tmp_path / str(i) for i in range(6)]
    with workers(TOUCH, 2) as pool:
        work(pool, "touching", tasks)
        assert all(task.exists() for task in tasks)
        alone = [tmp_path / "alone", tmp_path / "after"]
        work(pool, "one at a time", alone, alone=True)
        assert all(task.exists() for task in alone)


def test_a_fault_in_a_worker_is_raised_and_nothing_further_is_begun(tmp_path):
    tasks = [tmp_path / "nowhere" / "file", *(tmp_path / str(i) for i in range(50))]
    with pytest.raises(FileNotFoundError, match="nowhere"), workers(TOUCH, 1) as pool:
        work(pool, "touching", tasks)
    assert sum(task.exists() for task in tasks) < 50


def test_a_worker_that_dies_is_an_error():
    with pytest.raises(BrokenProcessPool), workers(partial(pydoc.locate, "os._exit"), 1) as pool:
        work(pool, "dying", [1])
