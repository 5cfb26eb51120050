"""The commands: totals of the suites, what the demo says, options that can't be."""

import subprocess
import sys

import pytest

from demo import world
from runner import bench, demo, suites, workflow
from runner.hosts import Host
from safelight.text.concepts import TEMPLATE_CONCEPTS

from .run_fakes import ROOT

REPORT = '<testsuites><testsuite tests="9" failures="1" errors="1" skipped="2"/></testsuites>'


def test_totals_of_a_suite(tmp_path):
    report = tmp_path / "unit.xml"
    report.write_text(REPORT)
    result = suites.outcome("unit", 1, report)
    assert (result.passed, result.failed, result.skipped, result.ok) == (5, 2, 2, False)


def test_what_is_expected_to_fail_is_not_called_skipped(tmp_path):
    report = tmp_path / "host.xml"
    cases = '<testcase><skipped type="pytest.xfail"/></testcase><testcase><skipped type="pytest.skip"/></testcase>'
    suite = f'<testsuite tests="5" failures="0" errors="0" skipped="2">{cases}</testsuite>'
    report.write_text(f"<testsuites>{suite}</testsuites>")
    result = suites.outcome("host", 0, report)
    assert (result.passed, result.skipped, result.xfailed) == (3, 1, 1)
    line = suites.closing_line([result], Host(None, "0.0.1", ""), 1.0)
    assert line.startswith("3 passed, 0 failed, 1 skipped, 1 xfailed")


def test_suite_that_wrote_no_report_is_not_ok(tmp_path):
    assert not suites.outcome("host", 4, tmp_path / "none.xml").ok


@pytest.mark.parametrize(
    ("suite", "word", "cores", "xdist", "workers"),
    [
        ("host", "", 8, True, 4),
        ("host", "", 2, True, 2),
        ("host", "", 1, True, 1),
        ("host", "", 8, False, 1),
        ("host", "schedule", 8, True, 1),
        ("unit", "", 8, True, 4),
        ("contract", "", 8, True, 1),
    ],
)
def test_the_long_suites_are_shared_out_where_they_can_be(monkeypatch, suite, word, cores, xdist, workers):
    monkeypatch.setattr(suites.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(suites, "_has", lambda python, module: xdist and module == "xdist")
    assert suites._workers(suite, ROOT, word) == workers


def test_closing_line_counts_all_suites():
    outcomes = [suites.Outcome("unit", 0, 10, 0, 0), suites.Outcome("host", 1, 20, 3, 4)]
    line = suites.closing_line(outcomes, Host(None, "0.0.1", ""), 61.4)
    assert line.startswith("30 passed, 3 failed, 4 skipped in 61 s (unit 10, host 20 (failed)) on ComfyUI 0.0.1")


def test_half_seen_things_are_marked():
    report = {"colour": "green", "things": [["cat", 0.99, 0.5, 0.5], ["dagger", 0.4, 0.1, 0.1]], "seen_from": 0.8}
    assert demo.described(report) == "cat, dagger? on green"
    assert demo.described({**report, "things": []}) == "nothing on green"


def test_committed_table_is_what_stands_between_the_readmes_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- evidence:begin -->\n| a | b |\n<!-- evidence:end -->\n")
    assert demo.committed_table(tmp_path) == "| a | b |"
    readme.write_text("# A\n<!-- evidence:begin -->\n<!-- evidence:end -->\n")
    assert "bench safety" in demo.committed_table(tmp_path)


def test_readme_has_a_place_for_the_table():
    assert demo.TABLE.search((ROOT / "README.md").read_text("utf-8"))


def test_ten_prompts_are_ten_in_words_that_the_demo_model_knows():
    prompts = (ROOT / demo.PROMPTS).read_text("utf-8").splitlines()
    assert len(prompts) == 10
    assert {word for prompt in prompts for word in prompt.split()} <= set(world.vocabulary())


def test_workflow_is_made_for_the_demo_world():
    values = {node["type"]: node["widgets_values"] for node in workflow.load(ROOT / demo.WORKFLOW)["nodes"]}
    prompt, _, concepts, *_ = values[demo.ENCODE]
    assert set(prompt.split()) <= set(world.vocabulary())
    assert concepts == TEMPLATE_CONCEPTS
    assert values["EmptyLatentImage"] == [world.SIZE, world.SIZE, 1]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("demo", "--safety", "1.5"), "between 0 and 1"),
        (("test", "--nonsense"), "unknown options: --nonsense"),
        (("test", "--python", "nowhere/python"), "there is no nowhere/python"),
    ],
)
def test_wrong_options_are_named(words, fault):
    done = subprocess.run([sys.executable, ROOT / "run.py", *words], capture_output=True, text=True)
    assert done.returncode == 2 and fault in done.stderr


@pytest.mark.parametrize("modules", ["runner.demo, runner.suites, runner.strip, runner.card, demo.see", "demo.session"])
def test_entry_and_session_need_the_standard_library_alone_to_be_imported(modules):
    """The session sets what torch reads when it is imported."""
    code = (
        f"import sys; sys.path.append(sys.argv[1]); import {modules}\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'numpy', 'PIL', 'yaml', 'requests')])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code, str(ROOT)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_benchmark_gets_the_host_that_was_found_and_its_own_options(tmp_path):
    checkout, index = Host(tmp_path, "0.33.0", ""), Host(None, "0.0.1", "")
    python = tmp_path / "python"
    words = bench.command(python, checkout, "safety", ["--quick"])
    assert words == [str(python), "-m", "bench", "safety", "--comfyui", str(tmp_path), "--quick"]
    assert bench.command(python, index, "safety", ["--quick"])[4:] == ["--quick"]


def test_unknown_benchmark_is_told_the_known_ones():
    done = subprocess.run([sys.executable, "-m", "bench", "nope"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("nope", "safety", "i2p", "speed"))
