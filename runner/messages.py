"""What `run.py` says: one line a step, and failures that tell what to do."""

from __future__ import annotations

import sys
import time


class Failure(Exception):
    """Something the person at the keyboard can act on: what went wrong, and what to do about it."""

    def __init__(self, what: str, to_do: str = ""):
        super().__init__(what + (f"\n  What to do: {to_do}" if to_do else ""))


def say(text: str) -> None:
    print(text, flush=True)


class Progress:
    """A step that takes a while: one line rewritten on a terminal, a line every ten seconds elsewhere."""

    EVERY = 10.0

    def __init__(self, title: str):
        self.title = title
        self.started = self.shown = time.monotonic()
        self.live = sys.stdout.isatty()
        say(f"{title} ...")

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def update(self, detail: str) -> None:
        now = time.monotonic()
        if self.live:
            print(f"\r\033[K  {now - self.started:4.0f} s  {detail[:90]}", end="", flush=True)
        elif now - self.shown >= self.EVERY:
            self.shown = now
            say(f"  {now - self.started:4.0f} s  {detail[:90]}")

    def done(self, result: str = "done") -> None:
        if self.live:
            print("\r\033[K", end="")
        say(f"  {result} ({self.elapsed():.0f} s)")
