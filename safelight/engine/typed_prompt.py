"""What is unsafe in a prompt while the artist types it, for the page: the verdict that the node will give, and choices.

The text stays on this machine, and is neither kept nor logged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from safelight.checks import check_numbers, check_texts, shortened
from safelight.engine import page_server
from safelight.text.choices import choices_of
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS
from safelight.text.safe_prompt import make_safe_prompt
from safelight.text.stand_ins import StandIns

if TYPE_CHECKING:
    from aiohttp import web

ROUTE = "/safelight/prompt"
LONGEST = 10_000  # characters of all texts together: a second and a half
MOST_BYTES = 16 * LONGEST  # of a request: each character may take six, twelve beyond the Basic Multilingual Plane
TABLES = 8  # with an artist's lines, of those that typing leaves behind
# Which words a text encoder knows, by the id of the node that loads it, where it does not read any text; the loader's
# module enters itself.
vocabularies: dict[str, Callable[[str], bool]] = {}


def answer(question: Any) -> dict[str, Any]:
    """For the inputs of SafelightPrompt by name, and `loader`, the id of the node that loads the text encoder.

    verdict: as in the node's `ui`. places: each a Choice, and whether it is `kept`. Raises ValueError as the node does,
    and for long texts.
    """
    if not isinstance(question, dict):
        raise ValueError(
            f"expected an object with the inputs of Safelight Prompt, got {shortened(question)}. Send one."
        )
    texts = {name: question.get(name, "") for name in ("prompt", "safe_prompt", "stand_ins", "loader")}
    texts["concepts"] = question.get("concepts", DEFAULT_CONCEPTS)
    false_alarms = question.get("false_alarms", FALSE_ALARMS)
    check_texts(**texts)
    check_numbers(false_alarms=false_alarms)
    if (length := sum(map(len, texts.values()))) > LONGEST:
        raise ValueError(
            f"prompt: expected texts of at most {LONGEST} characters to read while you type, got {length}. Run "
            "the node: it reads them all."
        )
    if StandIns.load.cache_info().currsize > TABLES:
        StandIns.load.cache_clear()
    knows = vocabularies.get(texts["loader"])
    concepts, stand_ins = texts["concepts"], texts["stand_ins"]
    made = make_safe_prompt(texts["prompt"], texts["safe_prompt"], concepts, stand_ins, false_alarms, knows)
    places = choices_of(made, concepts, stand_ins, false_alarms, knows)
    return {"verdict": made.verdict.as_json(), "places": [{**asdict(one), "kept": one.kept} for one in places]}


async def _read(request: web.Request) -> Any:
    """The JSON of a request. Raises ValueError for one that is none, or too long."""
    if request.content_length is None or request.content_length > MOST_BYTES:
        raise ValueError(f"prompt: expected at most {MOST_BYTES} bytes, got {request.content_length}. Send less.")
    try:
        return json.loads(await request.read())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"expected JSON, got something else ({error}). Send an object.") from error


def serve() -> None:
    """Answers POST /safelight/prompt on the server that loads this pack, where there is one."""
    page_server.serve_page("POST", ROUTE, _read, lambda question: answer(question))
