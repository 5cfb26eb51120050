"""`python run.py bench NAME`: a benchmark in the environment of the ComfyUI that was found."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .environment import BENCH_STEPS, prepare
from .hosts import Host


def command(python: Path, host: Host, name: str, further: Sequence[str]) -> list[str]:
    """What runs the benchmark `name`, `further` being its own options."""
    place = ["--comfyui", str(host.path)] if host.path else []
    return [str(python), "-m", "bench", name, *place, *further]


def run(root: Path, host: Host, environment: Path, name: str, further: Sequence[str]) -> int:
    """Returns the benchmark's exit code."""
    python = prepare(host, environment, extra=BENCH_STEPS)
    return subprocess.run(command(python, host, name, further), cwd=root, check=False).returncode
