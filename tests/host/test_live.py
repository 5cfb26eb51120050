"""What the page is told of a run's calls while it goes on: all of them at the end, few messages, never a fault."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from test_look_then_steer import CLEAR, SEEN, RoundVAE, Script
from tiny_models import latent

from safelight.engine import live, strip
from safelight.engine.live import EVENT, INTERVAL, shown_live
from safelight.engine.run_record import RunRecord

RUN = {"steps": 10, "safety": 0.5}


class Page:
    """A server with a page that queued what runs. told: the messages, which go over the socket as JSON; to: what they
    are, and for whom."""

    def __init__(self):
        self.client_id, self.last_node_id = "page", "12:5"
        self.told, self.to = [], set()

    def send_sync(self, event, data, client):
        self.to.add((event, client))
        self.told.append(json.loads(json.dumps(data)))


@pytest.fixture
def page(monkeypatch):
    page = Page()
    monkeypatch.setattr(live.host, "prompt_server", lambda: page)
    return page


@pytest.fixture
def every_call(monkeypatch):
    """Messages are not held back."""
    monkeypatch.setattr(live, "INTERVAL", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which pass as a test says."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def drawn(report):
    """The calls of a report, as a message has them."""
    return [[round(call["progress"], 4), round(call["w"], 4)] for call in report["weights"]]


def runs(page):
    """The last message of each run: the one before that of fewer calls, and the last of all."""
    following = [*page.told[1:], {"calls": []}]
    return [now for now, after in zip(page.told, following, strict=True) if len(after["calls"]) <= len(now["calls"])]


def test_a_runs_messages_grow_call_by_call_and_end_as_its_report(pack, eps, prompts, page, every_call):
    for _ in range(2):
        page.told.clear()
        _, report = pack.reported(eps, *prompts, latent(), **RUN)
        assert [len(told["calls"]) for told in page.told] == list(range(1, len(report["weights"]) + 1))
        assert page.told[-1] == {"node": "12:5", "level": 0.5, "context": report["context"], "calls": drawn(report)}
        assert page.to == {(EVENT, "page")}
        assert len({weight for _, weight in page.told[-1]["calls"]}) > 1, "where the safe prompt takes over is seen"


def test_messages_are_held_back_and_the_last_call_is_told_at_the_end(page, clock):
    record = RunRecord()
    record.level = 0.5
    with shown_live(record):
        for call in range(100):
            record.note_call(1.0, call / 100, 0.5)
            clock.now += INTERVAL / 9.5
        counts = [len(told["calls"]) for told in page.told]
        assert counts == list(range(1, 100, 10)), "the first at once, then one when the interval is over"
    assert len(page.told[-1]["calls"]) == 100
    record.note_call(1.0, 1.0, 0.5)
    assert len(page.told[-1]["calls"]) == 100, "the run is over"


def test_the_picture_is_that_of_a_run_that_nobody_hears(pack, eps, prompts, page, every_call, monkeypatch):
    told = pack.ksampler(eps, *prompts, latent(), **RUN)
    count = len(page.told)
    page.client_id = None  # sent by a script, which gets no messages
    pack.ksampler(eps, *prompts, latent(), **RUN)
    monkeypatch.setattr(live.host, "prompt_server", lambda: None)
    unheard = pack.ksampler(eps, *prompts, latent(), **RUN)
    assert torch.equal(told, unheard) and len(page.told) == count > 0


def test_a_socket_that_fails_ends_no_run(pack, eps, prompts, page, every_call, monkeypatch):
    expected = pack.ksampler(eps, *prompts, latent(), **RUN)

    def closed(*_):
        raise RuntimeError("Event loop is closed")

    monkeypatch.setattr(page, "send_sync", closed)
    assert torch.equal(pack.ksampler(eps, *prompts, latent(), **RUN), expected)


def test_a_run_that_breaks_off_leaves_nothing_that_hears(page, clock):
    record = RunRecord()
    with pytest.raises(KeyboardInterrupt), shown_live(record):
        record.note_call(1.0, 0.1, 0.0)
        record.note_call(1.0, 0.2, 0.0)
        raise KeyboardInterrupt
    assert len(page.told[-1]["calls"]) == 2 and record.on_call is None


def test_each_level_of_a_look_begins_anew(pack, eps, prompts, page, every_call):
    eye = {"detector": Script(CLEAR, SEEN, SEEN, CLEAR), "vae": RoundVAE()}
    _, report = pack.reported(eps, *prompts, latent(), steps=10, safety=0.75, risk=0.0, **eye)
    levels = runs(page)
    assert [told["level"] for told in levels] == [0.0, 0.5, 0.75]
    assert [max(weight for _, weight in told["calls"]) > 0 for told in levels] == [False, True, True]
    assert levels[-1]["calls"] == drawn(report)


def test_a_run_that_goes_on_at_a_level_says_so_from_there_on(pack, eps, prompts, page, every_call):
    eye = {"detector": Script(SEEN, CLEAR), "vae": RoundVAE()}
    pack.reported(eps, *prompts, latent(), steps=10, safety=1.0, risk=0.0, **eye)
    assert len(runs(page)) == 1 and list(dict.fromkeys(told["level"] for told in page.told)) == [0.0, 0.5]


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_a_strip_is_told_at_its_highest_level(pack, eps, prompts, page, every_call, sampler):
    _, report, *_ = pack.strip(eps, *prompts, latent(), levels="0, 0.5, 0.75", steps=10, sampler_name=sampler)
    assert {told["level"] for told in page.told} == {0.75} and page.told[-1]["calls"] == drawn(report)


def test_levels_that_share_no_run_are_told_one_after_the_other(pack, eps, prompts, page, every_call, monkeypatch):
    monkeypatch.setattr(strip, "has_call_patch", lambda model: True)
    pack.strip(eps, *prompts, latent(), levels="0.5, 0.75", steps=10)
    assert [told["level"] for told in runs(page)] == [0.5, 0.75]


def test_a_stock_run_and_a_guiders_are_not_told(pack, eps, prompts, page, every_call):
    """The one has no weights; the other's node is the host's, which draws none."""
    pack.ksampler(eps, *prompts, latent(), safety=0.0)
    pack.custom(eps, *prompts, latent())
    assert page.told == []
