"""What a stopped run keeps: bench/store.py."""

import sqlite3

import numpy as np
import pytest

from bench.store import Store


def test_values_are_there_for_the_next_process(tmp_path):
    first = Store(tmp_path / "store.sqlite")
    first["a/1"] = {"score": 0.5, "thing": None}
    first["a/2"] = b"bytes"
    again = Store(tmp_path / "store.sqlite")
    assert again["a/1"] == {"score": 0.5, "thing": None} and again["a/2"] == b"bytes"
    assert list(again.keys()) == ["a/1", "a/2"]
    assert "a/1" in again and "a/3" not in again and again.get("a/3") is None


def test_what_was_not_written_is_an_error(tmp_path):
    with pytest.raises(KeyError, match="nothing"):
        Store(tmp_path / "store.sqlite")["nothing"]


def test_a_number_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path / "store.sqlite")["score"] = float("nan")


def test_arrays_come_back_as_they_were(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    pictures = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    store.put_arrays("row/000", pictures=pictures, rows=40.0)
    kept = store.arrays("row/000")
    assert (
        np.array_equal(kept["pictures"], pictures)
        and kept["pictures"].dtype == np.uint8
        and float(kept["rows"]) == 40.0
    )


def test_a_value_that_was_being_written_is_not_there(tmp_path):
    """A process that ends in the middle leaves nothing behind."""
    store = Store(tmp_path / "store.sqlite")
    half = sqlite3.connect(tmp_path / "store.sqlite")
    half.execute("INSERT INTO entries VALUES ('a', 'half')")
    half.close()
    assert "a" not in store
    store["a"] = 1
    assert store["a"] == 1
