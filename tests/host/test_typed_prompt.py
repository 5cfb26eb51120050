"""What the page is told of a prompt while it is typed, against what the nodes say when they run."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from safelight.engine import typed_prompt

PROMPT = "a cat and a naked man with a kitchen knife"
INPUTS = {"safe_prompt": "", "concepts": "any weapon, nudity", "stand_ins": "naked = sleeping", "false_alarms": 0.05}
WRONG = [
    {"stand_ins": "a line without a sign"},
    {"false_alarms": 1.5},
    {"false_alarms": "much"},
    {"concepts": " "},
    {"prompt": 3},
    {"prompt": "\u043a\u043e\u0448\u043a\u0430 \u0438 \u043d\u043e\u0436"},
]


@pytest.mark.parametrize("inputs", [{}, INPUTS, {"safe_prompt": "a cat and a man with a spoon"}])
def test_the_verdict_is_the_nodes_own(pack, inputs):
    node = pack.nodes["SafelightPrompt"]()
    (run,) = node.read(PROMPT, **inputs)["ui"]["safelight_verdict"]
    assert typed_prompt.answer({"prompt": PROMPT, **inputs})["verdict"] == run


@pytest.mark.parametrize("inputs", WRONG)
def test_the_error_is_the_nodes_own(pack, inputs):
    given = {"prompt": PROMPT, **inputs}
    with pytest.raises(ValueError) as by_node:
        pack.nodes["SafelightPrompt"]().read(**given)
    with pytest.raises(ValueError) as by_route:
        typed_prompt.answer(given)
    assert str(by_route.value) == str(by_node.value)


def test_each_place_says_what_can_be_there_instead():
    places = typed_prompt.answer({"prompt": PROMPT, **INPUTS})["places"]
    naked, knife = json.loads(json.dumps(places))
    assert (naked["key"], naked["text"], naked["own"], naked["kept"]) == ("naked", "sleeping", True, False)
    assert PROMPT[knife["start"] : knife["stop"]] == "kitchen knife" and knife["others"]


def test_where_the_small_model_is_linked_only_words_that_it_knows_are_put_in(pack):
    from safelight.text.clauses import words_of

    loader = "SafelightDemoLoader"
    knows = typed_prompt.vocabularies[loader]
    assert loader in pack.nodes and knows("knife") and not knows("gardener")
    for place in typed_prompt.answer({"prompt": "a cat and a sword", "concepts": "any weapon", "loader": loader})[
        "places"
    ]:
        for text in (place["text"], *place["others"]):
            assert all(knows(word.text) for word in words_of(text)), text


def test_a_text_that_would_take_long_is_refused():
    with pytest.raises(ValueError, match="prompt: expected texts of at most"):
        typed_prompt.answer({"prompt": "a cat " * typed_prompt.LONGEST})


async def answers(monkeypatch, *bodies):
    """The status and JSON of each, from a server with the route alone."""
    server = SimpleNamespace(routes=web.RouteTableDef())
    monkeypatch.setattr(typed_prompt.page_server.host, "prompt_server", lambda: server)
    typed_prompt.serve()
    application = web.Application(client_max_size=2**24)
    application.add_routes(server.routes)
    found = []
    async with TestClient(TestServer(application)) as client:
        for body in bodies:
            response = await client.post(typed_prompt.ROUTE, data=body)
            found.append((response.status, await response.json()))
    return found


def test_the_route_answers_and_refuses_what_is_no_question(monkeypatch):
    good = json.dumps({"prompt": PROMPT}).encode()
    bad = (b"{", b"[]", b"\xff", b"", b"[" * 100_000, b" " * (typed_prompt.MOST_BYTES + 1))
    (status, told), *refused = asyncio.run(answers(monkeypatch, good, *bad))
    assert status == 200 and json.loads(told["verdict"])["words"]
    assert [status for status, _ in refused] == [400] * len(bad)
    assert all("expected" in told["error"] for _, told in refused)


def test_nothing_of_a_prompt_is_logged(caplog, capfd):
    with caplog.at_level(0):
        typed_prompt.answer({"prompt": PROMPT, "stand_ins": "knife = zeppelin"})
    said = caplog.text + "".join(capfd.readouterr())
    assert "zeppelin" not in said and "kitchen" not in said
