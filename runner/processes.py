"""Child processes that can be watched, and stopped together with everything they started."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WINDOWS = os.name == "nt"
TAIL_LINES = 20


@dataclass(frozen=True)
class Finished:
    """How a watched command ended: its exit code (None where it was stopped for its silence) and its last lines."""

    returncode: int | None
    tail: tuple[str, ...]


def start(command: Sequence[str], **options) -> subprocess.Popen:
    """Starts a command at the head of a process group of its own."""
    if WINDOWS:
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
    else:
        options["start_new_session"] = True
    return subprocess.Popen(list(command), stdin=subprocess.DEVNULL, **options)


def stop(process: subprocess.Popen, grace: float = 5.0) -> None:
    """Ends a process made by `start` and its whole group, by force after `grace` seconds."""
    if WINDOWS:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
        process.wait()
        return
    for sent, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, sent)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if sent == signal.SIGKILL:
            break
    process.wait()


def run_watched(
    command: Sequence[str],
    *,
    silence: float | None = None,
    on_line: Callable[[str], None] | None = None,
    log: Path | None = None,
    **options,
) -> Finished:
    """Runs a command, handing on each line that it prints (a carriage return ends one too).

    A command that prints nothing for `silence` seconds is stopped with its whole group. `log` keeps everything.
    """
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    chunks: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        while chunk := os.read(pipe, 65536):
            chunks.put(chunk)
        chunks.put(b"")

    threading.Thread(target=read, daemon=True).start()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    rest = ""
    kept = log.open("ab") if log else None
    try:
        while chunk := chunks.get(timeout=silence):
            if kept:
                kept.write(chunk)
            *lines, rest = re.split(r"[\r\n]+", rest + chunk.decode("utf-8", "replace"))
            for line in filter(str.strip, lines):
                tail.append(line.rstrip())
                if on_line:
                    on_line(line.rstrip())
        if rest.strip():
            tail.append(rest.rstrip())
        return Finished(process.wait(), tuple(tail))
    except queue.Empty:
        stop(process, grace=0.5)
        return Finished(None, tuple(tail))
    except BaseException:
        stop(process)
        raise
    finally:
        if kept:
            kept.close()
