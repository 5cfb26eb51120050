"""`python run.py test`: the unit, contract, host and browser suites on the host found, and their totals."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import browser
from .environment import CHECK_TOOLS, TEST_STEPS, Environment, Step, prepare, torch_steps
from .hosts import Host
from .messages import Failure, say

BROWSER = "browser"  # the one suite that is not pytest's
NOTHING_COLLECTED = 5  # pytest's exit code
SWEEP = 4  # cases of a parametrised host test that run where not everything does
MOST_WORKERS = 4  # of the host suite each has a ComfyUI and a server of its own


@dataclass(frozen=True)
class Outcome:
    """What one suite reported; `missing` says why it, or a part of it, was not run."""

    suite: str
    code: int
    passed: int
    failed: int
    skipped: int
    missing: str = ""
    xfailed: int = 0  # what is known to be wrong, and has a test that says so

    @property
    def ok(self) -> bool:
        return self.code == 0 and self.failed == 0

    @property
    def words(self) -> str:
        return (
            f"{self.suite} {self.passed}"
            + ("" if self.ok else " (failed)")
            + (f" (not run: {self.missing})" if self.missing else "")
        )


def outcome(suite: str, code: int, report: Path) -> Outcome:
    """Reads a suite's JUnit report; one that was not written counts as nothing run."""
    if not report.is_file():
        return Outcome(suite, code, 0, 0, 0)
    totals, root = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0), ElementTree.parse(report).getroot()
    for element in root.iter("testsuite"):
        for name in totals:
            totals[name] += int(element.get(name, 0))
    failed, skipped = totals["failures"] + totals["errors"], totals["skipped"]
    # In the report they are among the skipped ones.
    xfailed = sum(element.get("type") == "pytest.xfail" for element in root.iter("skipped"))
    return Outcome(suite, code, totals["tests"] - failed - skipped, failed, skipped - xfailed, xfailed=xfailed)


def closing_line(outcomes: list[Outcome], host: Host, seconds: float) -> str:
    parts = ", ".join(outcome.words for outcome in outcomes)
    total = {name: sum(getattr(o, name) for o in outcomes) for name in ("passed", "failed", "skipped", "xfailed")}
    counts = ", ".join(f"{count} {name}" for name, count in total.items() if count or name != "xfailed")
    return f"{counts} in {seconds:.0f} s ({parts}) on {host.name}"


def _has(python: Path, module: str) -> bool:
    return subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def _workers(suite: str, python: Path, word: str) -> int:
    """How many processes share a suite's files: several for the whole of those that take long, where pytest can."""
    many = suite in ("unit", "host") and not word and _has(python, "xdist")
    return min(os.cpu_count() or 1, MOST_WORKERS) if many else 1


def run_pytest(suite: str, root: Path, host: Host, python: Path, report: Path, word: str, everything: bool) -> Outcome:
    """Runs a suite in a pytest of its own, `word` being what pytest's -k takes.

    everything: the tests marked slow too; those that are named by `word` run in any case.
    """
    variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    side_by_side: list[str] = []
    workers = _workers(suite, python, word)
    if workers > 1:
        side_by_side = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
        variables.setdefault("OMP_NUM_THREADS", str(min(2, (os.cpu_count() or 1) // workers)))
    # One word: as two, pytest takes the path for one of tests, and the folder above both for its root.
    place = [f"--comfyui={host.path}"] if host.path and suite != "unit" else []
    chosen = ["-k", word] if word else []
    if not word and not everything:
        chosen = ["-m", "not slow", *(["--thin", str(SWEEP)] if suite == "host" else [])]
    command = [
        str(python),
        "-m",
        "pytest",
        f"tests/{suite}",
        "--import-mode=importlib",
        "-q",
        "-ra",
        f"--junitxml={report}",
        *side_by_side,
        *place,
        *chosen,
    ]
    code = subprocess.run(command, cwd=root, env=variables, check=False).returncode
    if code == NOTHING_COLLECTED and word:
        code = 0
    return outcome(suite, code, report)


def run_browser(root: Path, host: Host, python: Path, reports: Path, word: str, frontends: Sequence[str]) -> Outcome:
    """Runs what node, Chromium and the network are there for; in continuous integration all of them must be."""
    counts: list[browser.Counts] = []
    missing = ""
    try:
        if re.search(r"\b(and|or|not)\b|[()]", word):
            raise browser.Missing("-k takes one word or phrase here")
        node = browser.find_node()
        counts.append(browser.run_scripts(node, root, reports, re.escape(word)))
        counts += browser.run_pages(node, host, python, root, reports, re.escape(word), frontends)
    except browser.Missing as reason:
        missing = str(reason)
    code = int(any(count.code != 0 for count in counts) or bool(missing and os.environ.get("CI")))
    totals = (sum(getattr(count, name) for count in counts) for name in ("passed", "failed", "skipped"))
    return Outcome(BROWSER, code, *totals, missing)


def run_tests(
    root: Path,
    host: Host,
    environment: Path,
    *,
    word: str,
    suites: Sequence[str],
    frontends: Sequence[str],
    everything: bool,
) -> int:
    """Runs each of `suites` in turn, of it the tests that `word` chooses, and says their totals. Returns the exit code.

    frontends: releases of the page; without any, those that the browser suite is held to on this host.
    everything: the slow tests and the older releases of the page too.
    """
    python = prepare(host, environment, extra=TEST_STEPS)
    if not _has(python, "pytest"):
        raise Failure(
            f"{python} has no pytest, and this command installs nothing in an environment it did not make",
            f"install it there ({python} -m pip install pytest)",
        )
    frontends = frontends or (browser.VERSIONS if everything and not host.path else (browser.NEWEST,))
    began = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory() as reports:
        for suite in suites:
            say(f"\n=== {suite} tests")
            if suite == BROWSER:
                outcomes.append(run_browser(root, host, python, Path(reports), word, frontends))
            else:
                outcomes.append(run_pytest(suite, root, host, python, Path(reports) / f"{suite}.xml", word, everything))
    say(closing_line(outcomes, host, time.monotonic() - began))
    return 0 if all(o.ok for o in outcomes) and any(o.passed for o in outcomes) else 1


def run_checks(root: Path, environment: Path, python: Path | None) -> int:
    """Lint and type check, with tools of the environment that `run.py` makes unless one is named."""
    if python is None:
        made = Environment(environment)
        made.install([*torch_steps(), Step("check tools", CHECK_TOOLS)])
        python = made.python
    codes = []
    for tool in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        say(f"\n=== {' '.join(tool)}")
        codes.append(subprocess.run([str(python), "-m", *tool], cwd=root, check=False).returncode)
    return max(codes)
