"""`python -m bench speed --quick` on this host: what it counts is what the methods are said to cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import loading
import pytest

pytestmark = pytest.mark.slow  # runs the benchmark itself

STEPS, STOCK_ROWS = 6, 12
# Progress .2, where the preset "balanced" begins, lies behind the second of six steps of this scheduler.
GUARDED = 4


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory):
    """(the folder of the results, what speed.json holds)"""
    out = tmp_path_factory.mktemp("speed")
    checkout = request.config.checkout
    command = [sys.executable, "-m", "bench", "speed", "--quick", "--out", str(out)]
    done = subprocess.run(
        [*command, *(["--comfyui", str(checkout)] if checkout else [])],
        cwd=loading.ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out, json.loads((out / "speed.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def table(quick):
    """The records of the table, by case and by what each is compared with."""
    (demo,) = quick[1]["sizes"]
    return {(r["case"], r["against"]): r for r in demo["records"] if r["series"] == "cases"}


def test_quick_measures_the_demo_model_and_writes_its_report(quick, table):
    out, results = quick
    assert results["version"] == 1 and results["made"]["quick"] is True
    for record in table.values():
        for name in ("seconds", "cpu", "beside"):
            assert len(record[name]) == record["repeats"] and all(len(pair) == 2 for pair in record[name])
            assert all(seconds > 0 for pair in record[name] for seconds in pair), (record["case"], name)
    text = (out / "speed.md").read_text("utf-8")
    for case, _ in table:
        assert f"| {case}" in text
    assert {path.suffix for path in out.iterdir()} == {".json", ".md", ".sqlite"}


def test_rows_are_what_each_method_is_said_to_cost(table):
    stock = "stock KSampler"
    rows = {case: record["rows"] for (case, against), record in table.items() if against == stock}
    assert {theirs for theirs, _ in rows.values()} == {STOCK_ROWS}
    expected = {
        "the stock KSampler again": 0,
        "gate closed": 0,
        "slider 0": 0,
        "balanced, safety 1": 0,  # one branch at a time
        "balanced, safety 0.5": GUARDED,
        "selective, safety 0.5": GUARDED,
        "maximum, safety 0.5": GUARDED + 1,  # it begins a step earlier
        "SLD medium": STEPS,
        "TraSCE": STEPS,
        "CASG": 7 * STEPS,  # a row for each of the demo model's kinds
        "SAFREE as released": 0,  # instead of the prompt, not beside it
    }
    assert {case: rows[case][1] - STOCK_ROWS for case in expected} == expected


def test_a_closed_gate_and_slider_0_take_no_more_memory_than_stock(table):
    for (case, _), record in table.items():
        if case in ("the stock KSampler again", "gate closed", "slider 0"):
            theirs, ours = record["peak"]
            assert ours == pytest.approx(theirs, rel=0.01), case


def test_a_strip_of_five_costs_less_than_3_9_default_runs(table):
    theirs, ours = table["strip of 5", "one run at safety 0.5"]["rows"]
    assert theirs == STOCK_ROWS + GUARDED
    assert ours <= 3.9 * theirs


def test_growth_is_measured(quick):
    records = quick[1]["sizes"][0]["records"]
    default = [r for r in records if r["case"] == "balanced, safety 0.5"]
    assert {r["batch"]: r["rows"][0] for r in default if r["series"] == "batch"} == {1: STOCK_ROWS, 2: 2 * STOCK_ROWS}
    assert {r["steps"]: r["rows"][0] for r in default if r["series"] == "steps"} == {5: 10, 10: 20}
