"""Lines of a server's log, sent to a program on this machine and to no other."""

from __future__ import annotations

import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from safelight.studio import webhook
from safelight.studio.webhook import Address, Webhook, read_address


class Receiver:
    """A little program that takes lines. status: what it answers; elsewhere: where it sends a client on to."""

    def __init__(self, status=200, elsewhere=None):
        got = self.got = []
        self.arrived = threading.Semaphore(0)
        arrived = self.arrived

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                got.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.send_response(status)
                if elsewhere is not None:
                    self.send_header("Location", elsewhere)
                self.send_header("Content-Length", "0")
                self.end_headers()
                arrived.release()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = Address("127.0.0.1", self.server.server_port, "/seen")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_lines_arrive_in_their_order():
    with Receiver() as receiver:
        Webhook().send(receiver.address, ["one", "two", "three"])
        assert all(receiver.arrived.acquire(timeout=10) for _ in range(3))
        assert receiver.got == [("/seen", "one"), ("/seen", "two"), ("/seen", "three")]


def test_nobody_is_followed_elsewhere(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    with Receiver() as other:
        place = f"http://127.0.0.1:{other.server.server_port}/"
        with Receiver(307, place) as receiver, pytest.raises(OSError, match="307"):
            webhook.post(receiver.address, "line")
        assert receiver.got == [("/seen", "line")] and other.got == []


def test_what_cant_be_sent_is_said_once_in_a_while_and_stops_nothing(monkeypatch, caplog):
    posted = threading.Semaphore(0)

    def fail(address, line):
        posted.release()
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(webhook, "post", fail)
    with caplog.at_level(logging.WARNING, "safelight"):
        sender = Webhook()
        sender.send(Address("127.0.0.1", 1, "/"), ["line"] * 20)
        assert all(posted.acquire(timeout=10) for _ in range(20))
    assert [record.getMessage() for record in caplog.records] == [
        "Safelight: lines that did not reach the webhook: 1 (nobody there)."
    ]


def test_sampling_never_waits_for_a_program_that_is_slow(monkeypatch, caplog):
    go_on = threading.Event()
    monkeypatch.setattr(webhook, "post", lambda address, line: go_on.wait(20))
    sender, begin = Webhook(), time.monotonic()
    sender.send(Address("127.0.0.1", 1, "/"), ["line"] * (webhook.ROOM + 50))
    assert time.monotonic() - begin < 5
    assert any("too many lines wait" in record.getMessage() for record in caplog.records)
    go_on.set()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("http://localhost:5000", "127.0.0.1"),
        ("http://LOCALHOST/x", "127.0.0.1"),
        ("http://[::1]:5000/x", "::1"),
    ],
)
def test_addresses_of_this_machine_are_taken(url, host):
    assert read_address("webhook", url).host == host


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://127.0.0.1/",
        "file:///tmp/x",
        "http://127.0.0.1@example.org/",
        "http://localhost:80@example.org/",
        "http://127.0.0.1.example.org/",
        "http://0.0.0.0/",
        "http://127.0.0.2/",
        "http://10.0.0.1/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nHost: example.org",
        "127.0.0.1:80",
        "",
        None,
    ],
)
def test_every_other_address_is_refused(url):
    with pytest.raises(ValueError, match="webhook: expected http://127.0.0.1"):
        read_address("webhook", url)
