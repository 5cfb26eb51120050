"""Watched processes: lines, silence, and that nothing survives a stop."""

import sys
import time

from runner.processes import run_watched

CHILD = "import sys, time\nwhile True:\n    open(sys.argv[1], 'a').write('.'); time.sleep(0.05)"
PARENT = (
    "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])\ntime.sleep(60)"
)


def test_lines_end_at_carriage_returns_too():
    lines = []
    code = "import sys; sys.stdout.write('10%\\r20%\\rdone\\nlast'); sys.exit(3)"
    finished = run_watched([sys.executable, "-c", code], on_line=lines.append)
    assert lines == ["10%", "20%", "done"]
    assert (finished.returncode, finished.tail[-1]) == (3, "last")


def test_silence_ends_the_command_and_everything_it_started(tmp_path):
    beats = tmp_path / "beats"
    began = time.monotonic()
    finished = run_watched([sys.executable, "-c", PARENT, CHILD, str(beats)], silence=1.5)
    assert finished.returncode is None
    assert time.monotonic() - began < 20
    size = beats.stat().st_size
    assert size > 0
    time.sleep(0.4)
    assert beats.stat().st_size == size


def test_a_command_that_keeps_talking_is_not_silent():
    code = "import time\nfor i in range(6): print(i, flush=True); time.sleep(0.3)"
    assert run_watched([sys.executable, "-c", code], silence=1.5).returncode == 0


def test_log_keeps_every_run(tmp_path):
    log = tmp_path / "log"
    for word in ("first", "second"):
        run_watched([sys.executable, "-c", f"print('{word}')"], log=log)
    assert log.read_text().split() == ["first", "second"]
