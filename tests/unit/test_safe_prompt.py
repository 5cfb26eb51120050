"""A prompt and its safe counterpart: what is rewritten, what is taken as typed, and what is refused."""

from __future__ import annotations

import json

import pytest

from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.safe_prompt import chosen, make_safe_prompt

UNSAFE = "a naked woman on a green sofa, (oil painting:1.2)"


def make(prompt, typed="", concepts=DEFAULT_CONCEPTS, **given):
    return make_safe_prompt(prompt, typed, concepts, **given)


def test_an_unsafe_prompt_gets_a_safe_one_of_which_the_rest_is_the_same():
    made = make(UNSAFE)
    assert made.reading.risk >= 0.5 and made.words == ("naked",) and not made.harmless
    assert "naked" not in made.text and made.text.endswith(" on a green sofa, (oil painting:1.2)")
    verdict = json.loads(made.verdict())
    assert (verdict["method"], verdict["safe_prompt"], verdict["words"]) == ("rewrite", made.text, ["naked"])
    assert verdict["changes"] and all(text in made.text for text in verdict["changes"])


def test_the_safe_prompt_is_harmless_to_the_reader():
    again = make(make(UNSAFE).text)
    assert again.harmless and again.reading.risk < 0.5 and again.words == ()


def test_a_harmless_prompt_is_its_own_safe_prompt_and_that_is_said():
    made = make("a killer whale jumping, golden hour")
    assert made.harmless and made.text == made.prompt and "Nothing unsafe was found" in made.notes[0]


def test_a_typed_safe_prompt_is_taken_as_it_is_in_any_language():
    made = make(UNSAFE, "沙发上的花瓶")
    assert made.text == "沙发上的花瓶" and made.method == "typed" and made.reading.risk >= 0.5 and not made.notes
    assert make("裸体的女人", "沙发上的花瓶").reading.risk == 1


def test_a_typed_safe_prompt_that_is_unsafe_or_the_prompt_itself_is_said_to_be():
    assert any("reads as unsafe itself (nude)" in note for note in make(UNSAFE, "a nude man on a sofa").notes)
    assert any("would guard nothing" in note for note in make("a cat", " a  cat").notes)


def test_own_stand_ins_go_first():
    assert make(UNSAFE, stand_ins="naked = cheerful").text == "a cheerful woman on a green sofa, (oil painting:1.2)"


def test_things_of_the_artists_are_replaced_too():
    made = make("a tarantula on a leaf", concepts="spiders", stand_ins="tarantula = ladybird")
    assert made.reading.risk >= 0.5 and made.words == ("tarantula",) and made.text == "a ladybird on a leaf"


def test_concepts_are_categories_or_things():
    assert chosen("nudity, spiders, Blood") == (["sexual", "violence"], ["spiders"])
    everything, things = chosen(DEFAULT_CONCEPTS)
    assert len(everything) == 7 and things == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("裸体的女人",), "prompt: expected English, got a text that can't be read: it has Chinese letters"),
        ((UNSAFE, "", " , "), "concepts: expected what counts as unsafe"),
    ],
)
def test_what_cannot_be_done_is_an_error_that_names_the_input(given, named):
    with pytest.raises(ValueError) as error:
        make(*given)
    assert str(error.value).startswith(named)


def test_a_line_that_is_no_stand_in_is_an_error_that_names_the_input():
    with pytest.raises(ValueError, match='^stand_ins: expected "word = stand-in" in line 1'):
        make(UNSAFE, stand_ins="naked")
