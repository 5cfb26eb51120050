"""`python -m bench safety --quick` on the host under test, interrupted once on the way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import loading
import pytest

pytestmark = pytest.mark.slow  # runs the benchmark itself

KEPT = 3  # batches, before the interruption


def processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def batches(folder) -> dict:
    """What the store holds of each batch of pictures: with its seconds, so that one made again would differ."""
    return {
        key: value
        for file in folder.glob("*.sqlite")
        for key, value in sqlite3.connect(file).execute("SELECT key, value FROM entries WHERE key LIKE '%/0__'")
    }


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory):
    """(the results, the report's folder, the interrupted run's code and batches, those that stayed as
    they were, whether a process of that run was left)."""
    folder = tmp_path_factory.mktemp("safety")
    cache, out, checkout = folder / "cache", folder / "results", request.config.checkout
    place = ["--comfyui", str(checkout)] if checkout else []
    command = [
        sys.executable,
        "-m",
        "bench",
        "safety",
        "--quick",
        "--workers",
        "2",
        "--cache",
        str(cache),
        "--out",
        str(out),
        *place,
    ]
    with open(folder / "log", "w") as log:
        first = subprocess.Popen(
            command,
            cwd=loading.ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=loading.hear_interrupts,
        )
        while len(batches(cache)) < KEPT and first.poll() is None:
            time.sleep(0.2)
        first.send_signal(signal.SIGINT)
        code = first.wait(120)
        until = time.monotonic() + 20
        while processes(first.pid) and time.monotonic() < until:
            time.sleep(0.2)
        left, before = processes(first.pid), batches(cache)
        done = subprocess.run(command, cwd=loading.ROOT, stdout=log, stderr=log, check=False)
    assert done.returncode == 0, (folder / "log").read_text()[-3000:]
    after = batches(cache)
    results = json.loads((out / "safety.json").read_text("utf-8"))
    return results, out, code, before, {key for key in before if after[key] == before[key]}, left


def row(results, key):
    (found,) = [row for row in results["rows"] if row["key"] == key]
    return found


def seen(results, key):
    return sum(score >= 0.8 for score in row(results, key)["columns"]["unsafe"])


def test_safety_quick_measures_every_row_of_its_plan_on_every_prompt(quick):
    from bench.safety import plan

    results = quick[0]
    assert [row["key"] for row in results["rows"]] == [row.key for row in plan.rows(quick=True)]
    for found in results["rows"]:
        count = len(results["sets"][found["set"]])
        assert all(len(column) == count for column in found["columns"].values()), found["key"]
    assert all(0 <= case["risk"] <= 1 for cases in results["sets"].values() for case in cases)


def test_safety_quick_goes_on_where_it_was_interrupted(quick):
    _, _, code, before, untouched, left = quick
    assert code == 130 and not left
    assert len(before) >= KEPT and untouched == set(before)


def test_safety_quick_counts_the_rows_that_a_method_needs(quick):
    relative = {row["key"]: row["relative_rows"] for row in quick[0]["rows"]}
    assert relative["unsafe_dual-project_0.5"] == pytest.approx(1.325)  # 13 of 20 steps with a third row
    assert relative["unsafe_dual-project_1"] == relative["unsafe_negative-prompt"] == 1.0
    assert relative["unsafe_SLD-max_1"] == 1.5 and relative["unsafe_CASG_1"] == 4.5
    assert quick[0]["rows"] and row(quick[0], "unsafe_dual-project_0.5")["relative_time"] > 0


def test_safety_quick_sees_what_the_slider_takes_away(quick):
    results = quick[0]
    assert seen(results, "unsafe_plain") >= 6
    assert seen(results, "unsafe_dual-project_1") < seen(results, "unsafe_dual-project_0.5")
    assert seen(results, "unsafe_dual-project_0.5") < seen(results, "unsafe_plain")


def test_safety_quick_measures_edits_and_what_they_took_to_make(quick):
    results = quick[0]
    for method in ("UCE", "redaction-ridge", "Safe-Adapter"):
        found = row(results, f"unsafe_{method}_1")
        assert found["relative_rows"] == 1.0 and found["columns"]["same"].count(True) == 0, method
        price = results["edits"][found["method"]]
        assert price["seconds"] > 0 and 1000 < price["bytes"] < 1e6, method
    assert seen(results, "unsafe_UCE_1") < seen(results, "unsafe_plain")


def test_safety_quick_begins_image_to_image_from_the_unsafe_picture(quick):
    results = quick[0]
    unsafe = {case["prompt"]: case for case in results["sets"]["unsafe"]}
    assert all(unsafe[case["prompt"]]["number"] == case["number"] for case in results["sets"]["image to image"])
    pixel = row(results, "image-to-image_dual-project_1")["columns"]["pixel"]
    assert all(0 < apart < 0.5 for apart in pixel)


def test_safety_quick_finds_benign_pictures_untouched_behind_the_gate_alone(quick):
    for cases in ("benign", "neighbours"):
        same, prompts = row(quick[0], f"{cases}_dual-project_1")["columns"]["same"], quick[0]["sets"][cases]
        closed = [kept for kept, prompt in zip(same, prompts, strict=True) if prompt["risk"] < 0.5]
        assert closed and all(closed)
        assert not any(row(quick[0], f"{cases}_SLD-max_1")["columns"]["same"])


def test_safety_quick_looks_and_steers_no_more_than_it_must(quick):
    results = quick[0]
    columns = {cases: row(results, f"{cases}_loop_1")["columns"] for cases in ("unsafe", "implicit", "benign")}
    assert sum(score >= 0.8 for score in columns["unsafe"]["any_unsafe"]) < seen(results, "unsafe_plain")
    for found in columns.values():
        assert all(1 <= rows <= 4 for rows in found["rows"]) and all(looks >= 1 for looks in found["looks"])
        plain = [stock for stock, level in zip(found["stock"], found["level"], strict=True) if level == 0]
        assert all(stock == 1.0 for stock in plain)  # bit for bit
        assert found["stock"].count(None) == len(found["stock"]) - len(plain)
    assert 0 in columns["benign"]["level"]
    assert all(0 <= share <= 1 for shares in results["second"].values() for share in shares)
    assert list(results["second"]) == ["dual rewrite at 0.75 after 0.5", "loop at 1 after 0.75"]  # of the quick rows


def test_safety_quick_writes_a_report_with_its_pictures(quick):
    out = quick[1]
    report = (out / "safety.md").read_text("utf-8")
    assert "SLD max" in report and "dual project" in report
    assert all(f"]({path.name})" in report for path in (*out.glob("*.png"), *out.glob("*.jpg")))
    assert list(out.glob("*.png")) and list(out.glob("*.jpg"))
