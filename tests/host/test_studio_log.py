"""What a server's owner gets to know of its runs: the lines of the log, and the webhook that gets them too."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from server_owner import RUN, log_lines
from test_look_then_steer import CLEAR, SEEN, RoundVAE
from tiny_models import latent


def test_the_log_has_a_line_for_each_picture_of_a_batch(pack, eps, prompts, policy, script):
    path = policy(detectors=script(CLEAR, SEEN, CLEAR, SEEN, CLEAR), log="log.jsonl")
    given = {**RUN, "vae": RoundVAE(), "risk": 0.25, "safety": 1.0}
    with running_node("a prompt", "12") as origin:
        _, report = pack.reported(eps, *prompts, latent(batch=2), **given)
    first, second = log_lines(path.parent / "log.jsonl")
    for number, line in enumerate((first, second), 1):
        assert (line["prompt_id"], line["node_id"]) == origin and line["node"] == "SafelightKSampler"
        assert (line["format"], line["seed"], line["picture"], line["pictures"]) == (1, RUN["seed"], number, 2)
        assert (line["safety_asked"], line["safety"], line["risk"], line["gate"]) == (1.0, 1.0, 0.25, 0.5)
        assert line["passed"] and line["on_failure"] == "keep" and line["rows"] == report["rows"]
    assert (first["state"], first["level"], first["found"]) == ("stock", 0.0, [])
    assert (second["state"], second["level"]) == ("steered", report["look"]["pictures"][1]["safety"])
    assert [(find["words"], find["level"], find["early"]) for find in second["found"]] == [
        ("a thing", 0.0, True),
        ("a thing", 0.5, False),
    ]


@contextlib.contextmanager
def running_node(prompt_id, node_id):
    """The host runs this node; the ids that it tells."""
    try:
        from comfy_execution.utils import CurrentNodeContext
    except ImportError:
        yield None, None
        return
    with CurrentNodeContext(prompt_id, node_id):
        yield prompt_id, node_id


def test_every_node_that_samples_writes_a_line_for_each_picture(ways, policy):
    path = policy(least_safety=0.5, log="log.jsonl").parent / "log.jsonl"
    for name, sample in ways.items():
        path.write_text("")
        with running_node("a prompt", name) as origin:
            sample(pictures=2, safety=0.2)
        told = log_lines(path)
        assert [line["picture"] for line in told] == [1, 2], name
        for line in told:
            assert (line["node"], line["prompt_id"], line["node_id"]) == (name, *origin)
            assert (line["safety_asked"], line["safety"], line["state"], line["level"]) == (0.2, 0.5, "steered", 0.5)
            assert line["seed"] == RUN["seed"] and line["passed"] is None


def test_a_log_that_cant_be_written_stops_the_picture(ways, policy):
    path = policy(log="log.jsonl").parent / "log.jsonl"
    ways["SafelightKSampler"](safety=0.5)
    path.unlink()
    path.mkdir()
    for name, sample in ways.items():
        with pytest.raises(ValueError, match="log: .* can't be written"):
            pytest.fail(f"{name}: {sample(safety=0.5)}")


def test_the_webhook_gets_the_lines_of_the_log(ways, policy):
    got, arrived = [], threading.Semaphore(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()
            arrived.release()

        def log_message(self, *_):
            pass

    receiver = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        path = policy(log="log.jsonl", webhook=f"http://localhost:{receiver.server_port}/seen")
        ways["SafelightKSampler"](safety=0.5, pictures=2)
        assert all(arrived.acquire(timeout=20) for _ in range(2))
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert got == (path.parent / "log.jsonl").read_text().splitlines()


def test_nobody_at_the_webhook_stops_no_picture(ways, policy):
    plain = ways["SafelightKSampler"](safety=0.5)
    policy(webhook="http://127.0.0.1:9/")
    assert torch.equal(ways["SafelightKSampler"](safety=0.5), plain)
