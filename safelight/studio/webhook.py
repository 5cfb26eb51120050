"""Lines of the log, sent to a program on this machine. Sampling never waits for it, and never fails by it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from queue import Empty, Full, Queue
from typing import Any
from urllib.parse import urlsplit

from safelight.checks import shortened

HERE = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}  # no name is looked up
TIMEOUT = 2.0  # seconds
ROOM = 256  # lines that wait
SELDOM = 60.0  # seconds between two warnings
IDLE = 5.0  # seconds without a line after which the thread ends

log = logging.getLogger("safelight")


@dataclass(frozen=True)
class Address:
    """A place on this machine. host: an address of it; path: with the query."""

    host: str
    port: int
    path: str


def read_address(name: str, value: Any) -> Address:
    """An http URL on this machine. Raises ValueError, naming the key, for every other."""
    wanted = "expected http://127.0.0.1, http://localhost or http://[::1] with a port and a path"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{name}: {wanted}, got {shortened(value)}.")
    try:
        url = urlsplit(value)
        port = url.port or 80
    except ValueError as error:
        raise ValueError(f"{name}: {wanted}, got {shortened(value)} ({error}).") from error
    if url.scheme != "http" or url.hostname not in HERE or url.username is not None or url.password is not None:
        raise ValueError(f"{name}: {wanted}, got {shortened(value)}. Nothing is sent to another machine.")
    return Address(HERE[url.hostname], port, (url.path or "/") + (f"?{url.query}" if url.query else ""))


class Webhook:
    """Sends each line as a POST, one after the other, from a thread. What can't wait in the queue is lost."""

    def __init__(self) -> None:
        self._lines: Queue[tuple[Address, str]] = Queue(ROOM)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._lost, self._warned = 0, -SELDOM

    def send(self, address: Address, lines: Sequence[str]) -> None:
        """Returns at once."""
        for line in lines:
            try:
                self._lines.put_nowait((address, line))
            except Full:
                self._warn("too many lines wait")
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="safelight webhook", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            try:
                address, line = self._lines.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._lines.empty():
                        self._thread = None
                        return
                continue
            try:
                post(address, line)
            except (OSError, HTTPException) as error:
                self._warn(str(error) or type(error).__name__)

    def _warn(self, why: str) -> None:
        self._lost += 1
        if time.monotonic() - self._warned >= SELDOM:
            log.warning("Safelight: lines that did not reach the webhook: %d (%s).", self._lost, why)
            self._warned, self._lost = time.monotonic(), 0


def post(address: Address, line: str) -> None:
    """Raises OSError or HTTPException where the program did not take the line. Follows no redirect, asks no proxy."""
    connection = HTTPConnection(address.host, address.port, timeout=TIMEOUT)
    try:
        connection.request("POST", address.path, line.encode(), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise OSError(f"the program answered {status}")
