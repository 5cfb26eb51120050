"""A real server whose owner asks for a least safety, over HTTP."""

from __future__ import annotations

import sys

import host
import loading
import pytest
from server_owner import log_lines
from test_server import graph

from runner.hosts import Host
from runner.messages import Failure
from runner.server import running
from safelight.engine import studio


@pytest.mark.slow
def test_a_server_keeps_to_its_owners_file_from_run_to_run(request, tmp_path, monkeypatch):
    policy, log = tmp_path / "policy.json", tmp_path / "log.jsonl"
    policy.write_text('{"least_safety": 0.5, "log": "log.jsonl"}')
    monkeypatch.setenv(studio.VARIABLE, str(policy))
    chosen = Host(request.config.checkout, host.VERSION, "under test")
    prompt = graph("SafelightKSampler", "studio", safety=0.0)
    beside = [loading.ROOT / "tests" / "host" / "tiny_pack"]
    with running(chosen, sys.executable, loading.ROOT, tmp_path / "comfyui.log", beside=beside) as started:
        client = started.client

        def levels():
            prompt_id = client.submit(prompt)
            client.wait(prompt_id)
            told = log_lines(log)
            return prompt_id, told[-1], [line["level"] for line in told]

        prompt_id, line, steered = levels()
        assert steered == [0.5] and line["safety_asked"] == 0.0
        expected = (None, None) if host.IS_INDEX_BUILD else (prompt_id, "6")
        assert (line["prompt_id"], line["node_id"]) == expected
        assert levels()[2] == [0.5]  # answered from the host's cache: nothing ran
        policy.write_text('{"least_safety": 0.75, "log": "log.jsonl"}')
        assert levels()[2] == [0.5, 0.75]
        policy.write_text("{")
        with pytest.raises(Failure, match="policy.json can't be obeyed"):
            levels()
