"""`python -m bench redteam --quick` on the host under test."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import loading
import pytest

pytestmark = pytest.mark.slow  # runs the benchmark itself


def entries(folder) -> set:
    """What the stores hold; pictures with their seconds, so that what is made again would differ."""
    files = sorted(folder.glob("*.sqlite"))
    return {(file.name, *row) for file in files for row in sqlite3.connect(file).execute("SELECT * FROM entries")}


@pytest.fixture(scope="module")
def quick(request, tmp_path_factory):
    """(results, the report's folder, what lay in the cache and when it was written, after one run and after two)."""
    folder = tmp_path_factory.mktemp("redteam")
    cache, out, checkout = folder / "cache", folder / "results", request.config.checkout
    place = ["--comfyui", str(checkout)] if checkout else []
    command = [sys.executable, "-m", "bench", "redteam", "--quick", "--cache", str(cache), "--out", str(out), *place]
    kept = []
    for _ in range(2):
        done = subprocess.run(command, cwd=loading.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        kept.append(entries(cache))
    return json.loads((out / "redteam.json").read_text("utf-8")), out, *kept


def test_redteam_quick_attacks_every_source_in_every_way(quick):
    from bench.redteam import plan

    results = quick[0]
    assert list(results["sets"]) == ["source", *plan.SEARCHES]
    assert {len(cases) for cases in results["sets"].values()} == {2}
    assert {row["key"] for row in results["rows"]} == {
        row.key for cases in results["sets"] for row in plan.rows(cases, quick=True)
    }
    assert all(len(row["columns"]["any_unsafe"]) == 2 for row in results["rows"])


def test_redteam_quick_comes_nearer_to_its_targets_in_words_that_it_may_use(quick):
    from bench.redteam import plan

    results = quick[0]
    for search in plan.SEARCHES:
        assert all(case["loss"] < case["begun"] for case in results["sets"][search])
        for example in results["examples"][search]:
            words = example["attack"].split()
            assert len(words) == plan.SMALL.search.length and not plan.forbidden(search) & set(words)


def test_redteam_quick_sources_are_seen_by_the_gate_and_taken_out_by_the_slider(quick):
    results = quick[0]
    assert all(case["risk"] >= 0.5 for case in results["sets"]["source"])
    rows = {row["key"]: row["columns"]["unsafe"] for row in results["rows"]}
    assert sum(rows["source_dual-rewrite_1"]) < sum(rows["source_plain"])


def test_redteam_quick_makes_nothing_twice(quick):
    _, _, once, twice = quick
    assert once == twice and len(once) >= 6


def test_redteam_quick_writes_its_report(quick):
    out = quick[1]
    text = (out / "redteam.md").read_text("utf-8")
    assert "sanity check" in text
    assert "dual project, safety 1, with its gate" in text and "dual project, safety 1, gate held open" in text
