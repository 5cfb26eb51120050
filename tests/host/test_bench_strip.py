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
print("fault:", repr(look(Scorer(), text, strip(session, text, demo.STRIP_SEED))))
"""


@pytest.mark.slow
def test_the_demos_strip_keeps_its_rule(request):
    checkout = request.config.checkout
    script = SCRIPT.format(checkout=f"Path({str(checkout)!r})" if checkout else None)
    done = subprocess.run([sys.executable, "-c", script], cwd=loading.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("fault: ''\n")
