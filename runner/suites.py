"""`python run.py test`: the unit, contract and host suites on the host found, and their totals."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from .environment import CHECK_TOOLS, TEST_TOOLS, Environment, Step, prepare, torch_steps
from .hosts import Host
from .messages import Failure, say

SUITES = ("unit", "contract", "host")
NOTHING_COLLECTED = 5  # pytest's exit code


@dataclass(frozen=True)
class Outcome:
    """What one suite reported."""

    suite: str
    code: int
    passed: int
    failed: int
    skipped: int

    @property
    def ok(self) -> bool:
        return self.code == 0 and self.failed == 0


def outcome(suite: str, code: int, report: Path) -> Outcome:
    """Reads a suite's JUnit report; one that was not written counts as nothing run."""
    if not report.is_file():
        return Outcome(suite, code, 0, 0, 0)
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for element in ElementTree.parse(report).getroot().iter("testsuite"):
        for name in totals:
            totals[name] += int(element.get(name, 0))
    failed = totals["failures"] + totals["errors"]
    return Outcome(suite, code, totals["tests"] - failed - totals["skipped"], failed, totals["skipped"])


def closing_line(outcomes: list[Outcome], host: Host, seconds: float) -> str:
    parts = ", ".join(f"{o.suite} {o.passed}" + ("" if o.ok else " (failed)") for o in outcomes)
    total = {name: sum(getattr(o, name) for o in outcomes) for name in ("passed", "failed", "skipped")}
    counts = ", ".join(f"{count} {name}" for name, count in total.items())
    return f"{counts} in {seconds:.0f} s ({parts}) on {host.name}"


def _has_pytest(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import pytest"], capture_output=True, check=False).returncode == 0


def run_tests(root: Path, host: Host, environment: Path, selection: list[str]) -> int:
    """Runs each suite in a pytest of its own; `selection` goes to all of them. Returns the exit code."""
    python = prepare(host, environment, extra=TEST_TOOLS)
    if not _has_pytest(python):
        raise Failure(
            f"{python} has no pytest, and this command installs nothing in an environment it did not make",
            f"install it there ({python} -m pip install pytest)",
        )
    variables = {name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"}
    began = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory() as reports:
        for suite in SUITES:
            say(f"\n=== {suite} tests")
            report = Path(reports) / f"{suite}.xml"
            # One word: as two, pytest takes the path for one of tests, and the folder above both for its root.
            place = [f"--comfyui={host.path}"] if host.path and suite != "unit" else []
            command = [
                str(python),
                "-m",
                "pytest",
                f"tests/{suite}",
                "--import-mode=importlib",
                "-q",
                "-ra",
                f"--junitxml={report}",
                *place,
                *selection,
            ]
            code = subprocess.run(command, cwd=root, env=variables, check=False).returncode
            if code == NOTHING_COLLECTED and selection:
                code = 0
            outcomes.append(outcome(suite, code, report))
    say(closing_line(outcomes, host, time.monotonic() - began))
    return 0 if all(o.ok for o in outcomes) and any(o.passed for o in outcomes) else 1


def run_checks(root: Path, environment: Path, python: Path | None) -> int:
    """Lint and type check, with tools of the environment that `run.py` makes unless one is named."""
    if python is None:
        made = Environment(environment)
        made.install([*torch_steps(), Step("check tools", CHECK_TOOLS)])
        python = made.python
    codes = []
    for tool in (("ruff", "check", "."), ("mypy", "safelight")):
        say(f"\n=== {' '.join(tool)}")
        codes.append(subprocess.run([str(python), "-m", *tool], cwd=root, check=False).returncode)
    return max(codes)
