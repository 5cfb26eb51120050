"""What a server's log says of each picture."""

from __future__ import annotations

import pytest

from safelight.detect.look import Finding, Look
from safelight.studio.log_lines import Origin, look_lines, sampler_lines

ORIGIN = Origin("SafelightKSampler", "prompt", "7")
RUN = {
    "safety": 0.5,
    "risk": 1.0,
    "gate": 0.0,
    "gate_open": True,
    "harmless": False,
    "weights": [{"w": 0.0}, {"w": 0.7}],
    "moved": [0.1, 0.1],
    "replaced": 0,
    "valued": 0,
    "rows": 30,
    "server": {"asked_safety": 0.2, "asked_gate": 0.5, "least_safety": 0.5},
    "notes": ["a secret prompt"],
}
EARLY = {"safety": 0.0, "early": True, "score": 0.9, "words": "a knife"}
CLEAR = {"safety": 0.5, "early": False, "score": 0.1, "words": "nothing"}


def picture(level, passed, *looks):
    return {"safety": level, "passed": passed, "looks": list(looks), "safe_prompt": "a secret prompt", "against": []}


def test_a_line_tells_where_a_picture_comes_from_and_what_was_asked_and_done():
    first, second = sampler_lines(RUN, 2, ORIGIN, 11)
    assert first.pop("time").endswith("Z") and second["picture"] == 2
    assert first == {
        "format": 1,
        "prompt_id": "prompt",
        "node_id": "7",
        "node": "SafelightKSampler",
        "picture": 1,
        "pictures": 2,
        "seed": 11,
        "safety_asked": 0.2,
        "safety": 0.5,
        "risk": 1.0,
        "gate": 0.0,
        "rows": 30,
        "state": "steered",
        "level": 0.5,
        "passed": None,
        "on_failure": None,
        "found": [],
    }


@pytest.mark.parametrize(
    ("change", "state", "level"),
    [
        ({"safety": 0.0, "weights": []}, "off", 0.0),
        ({"gate_open": False}, "alone", 0.0),
        ({"harmless": True}, "alone", 0.0),
        ({"weights": [{"w": 0.0}]}, "waiting", 0.5),
        ({"moved": [0.0, 0.0]}, "waiting", 0.5),
        ({"moved": [], "replaced": 3}, "steered", 0.5),
        ({"moved": [], "valued": 3}, "steered", 0.5),
    ],
)
def test_states_are_those_of_the_page(change, state, level):
    line, _ = sampler_lines({**RUN, **change}, 2, ORIGIN, 11)
    assert (line["state"], line["level"]) == (state, level)


def test_each_picture_of_a_batch_has_its_own_level_and_finds():
    look = {"hide": "blur", "passed": True, "pictures": [picture(0.0, True, CLEAR), picture(0.5, True, EARLY, CLEAR)]}
    plain, steered = sampler_lines({**RUN, "look": look, "moved": [0.0, 0.3]}, 2, ORIGIN, 11)
    assert (plain["state"], plain["level"], plain["passed"], plain["found"]) == ("stock", 0.0, True, [])
    assert (steered["state"], steered["level"], steered["passed"]) == ("steered", 0.5, True)
    assert steered["found"] == [{"level": 0.0, "early": True, "score": 0.9, "words": "a knife"}]
    assert steered["on_failure"] == "blur"


def test_a_picture_that_nothing_could_be_done_about_was_left_alone():
    seen = {**EARLY, "early": False}
    look = {"hide": "stop", "passed": False, "pictures": [picture(0.5, False, seen)]}
    (line,) = sampler_lines({**RUN, "look": look, "harmless": True}, 1, ORIGIN, 11)
    assert (line["state"], line["level"], line["passed"]) == ("alone", 0.0, False) and line["found"]


def test_a_strip_has_a_line_for_each_picture_at_each_level():
    frames = [
        {"safety": 0.5, "weights": [0.0, 0.7], "moved": [0.1, 0.2], "replaced": 0, "valued": 0},
        {"safety": 1.0, "weights": [1.0, 1.0], "moved": [], "replaced": 2, "valued": 0},
    ]
    seen = [{**EARLY, "safety": 0.5, "early": False}, {**CLEAR, "safety": 1.0}]
    report = {**RUN, "levels": [0.5, 1.0], "frames": frames, "look": {"pictures": [picture(1.0, True, *seen)] * 2}}
    lines = sampler_lines(report, 2, ORIGIN, 11)
    told = [(line["picture"], line["level"], line["state"], line["passed"]) for line in lines]
    assert told == [
        (1, 0.5, "steered", False),
        (2, 0.5, "steered", False),
        (3, 1.0, "steered", True),
        (4, 1.0, "steered", True),
    ]


def test_no_word_of_the_prompt_is_in_a_line():
    look = {"hide": "keep", "passed": True, "pictures": [picture(0.5, True, EARLY, CLEAR)]}
    assert "secret" not in str(sampler_lines({**RUN, "look": look}, 1, ORIGIN, 11))


def test_look_tells_what_it_found_in_each_picture():
    looks = [Look(0.1), Look(0.8, (Finding("a knife", 0.8),))]
    clear, found = look_lines(looks, "blank", ORIGIN)
    assert clear.keys() == found.keys() == sampler_lines(RUN, 1, ORIGIN, 11)[0].keys()
    assert (clear["passed"], clear["found"]) == (True, []) and found["passed"] is False
    assert found["found"] == [{"level": None, "early": False, "score": 0.8, "words": "a knife"}]
    assert found["on_failure"] == "blank"
