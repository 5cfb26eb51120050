"""Worker processes: bench/pool.py."""

import os
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from operator import methodcaller
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.pool import work, workers
from bench.store import Store

TOUCH = partial(methodcaller, "touch")  # each process gets what touches a task's file
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Worker processes begin anew, and import bench."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.sqlite")


def task(path):
    return SimpleNamespace(key=path.name, path=path, touch=partial(Path.touch, path))


def test_every_task_that_the_store_lacks_is_done_when_work_ends(tmp_path, store):
    tasks = [task(tmp_path / str(i)) for i in range(6)]
    alone = [task(tmp_path / "alone"), task(tmp_path / "after")]
    store["3"] = store["after"] = 1
    with workers(TOUCH, 2) as pool:
        work(pool, store, "touching", tasks)
        assert [one.path.exists() for one in tasks] == [True, True, True, False, True, True]
        work(pool, store, "one at a time", alone, alone=True)
        assert [one.path.exists() for one in alone] == [True, False]


def test_a_fault_in_a_worker_is_raised_and_nothing_further_is_begun(tmp_path, store):
    tasks = [task(tmp_path / "nowhere" / "file"), *(task(tmp_path / str(i)) for i in range(50))]
    with pytest.raises(FileNotFoundError, match="nowhere"), workers(TOUCH, 1) as pool:
        work(pool, store, "touching", tasks)
    assert sum(one.path.exists() for one in tasks) < 50


def test_a_worker_that_dies_is_an_error(store):
    with pytest.raises(BrokenProcessPool), workers(TOUCH, 1) as pool:
        work(pool, store, "dying", [SimpleNamespace(key="one", touch=partial(os._exit, 1))])
