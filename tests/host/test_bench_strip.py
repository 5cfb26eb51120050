"""The seed of README's strip on the host under test: bench/safety/strip_seed.py."""

from __future__ import annotations

import subprocess
import sys

import loading
import pytest

SCRIPT = """
from pathlib import Path
from bench.safety.strip_seed import DemoSession, Scorer, look, prompt, strip
from runner import demo
session, text = DemoSession({checkout}), prompt()
print("fault:", look(Scorer(), text, strip(session, text, {seed})))
"""


def fault_of(request, seed):
    checkout = request.config.checkout
    script = SCRIPT.format(checkout=f"Path({str(checkout)!r})" if checkout else None, seed=seed)
    done = subprocess.run([sys.executable, "-c", script], cwd=loading.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("fault:")[1].strip()


@pytest.mark.slow
def test_the_demos_strip_keeps_its_rule(request):
    assert fault_of(request, "demo.STRIP_SEED") == ""


@pytest.mark.slow
def test_a_seed_whose_plain_picture_has_no_knife_does_not(request):
    assert fault_of(request, 3) == "the plain picture lacks one of the things"
