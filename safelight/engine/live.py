"""Tells the page of a run's calls while it goes on, so that its node can draw them as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from safelight.engine import host
from safelight.engine.run_record import RunRecord

EVENT = "safelight_calls"
INTERVAL = 0.05  # seconds between two messages of a run, at least; its end is told at once


@contextmanager
def shown_live(record: RunRecord) -> Iterator[None]:
    """The calls that `record` notes in the block, one run, are told to the page that queued it, if there is one.

    A message has all calls so far, so that it can be drawn without those before it: level (the run's place on the
    slider), context (where the guidance begins), calls ([progress, weight] each). It has no text of the artist's.
    """
    calls: list[tuple[float, float]] = []
    sent_calls, sent_at = 0, -INTERVAL

    def send() -> None:
        nonlocal sent_calls, sent_at
        sent_calls, sent_at = len(calls), time.monotonic()
        with suppress(Exception):  # no run ends because a page could not be told
            # A copy, as another thread writes it out.
            host.send_to_page(EVENT, {"level": record.level, "context": record.start_percent, "calls": calls[:]})

    def noted(progress: float | None, weight: float) -> None:
        if progress is None:
            return
        calls.append((round(progress, 4), round(weight, 4)))
        if time.monotonic() - sent_at >= INTERVAL:
            send()

    record.on_call = noted
    try:
        yield
    finally:
        record.on_call = None
        if len(calls) > sent_calls:
            send()
