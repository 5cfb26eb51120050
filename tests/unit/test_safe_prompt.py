"""A prompt and its safe counterpart: what is rewritten, what is taken as typed, and what is refused."""

from __future__ import annotations

import json

import pytest

from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import CATEGORIES, Reader, Reading
from safelight.text.safe_prompt import NoSafePrompt, make_safe_prompt, reader_of

UNSAFE = "a naked woman on a green sofa, (oil painting:1.2)"


def make(prompt, typed="", concepts=DEFAULT_CONCEPTS, **given):
    return make_safe_prompt(prompt, typed, concepts, **given)


def test_an_unsafe_prompt_gets_a_safe_one_of_which_the_rest_is_the_same():
    made = make(UNSAFE)
    assert made.reading.risk >= 0.5 and made.words == ("naked",) and not made.harmless
    assert "naked" not in made.text and made.text.endswith(" on a green sofa, (oil painting:1.2)")
    verdict = json.loads(made.verdict.as_json())
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
    unread = make("裸体的女人", "沙发上的花瓶")
    assert unread.reading.risk == 1 and unread.notes[0].startswith("risk is 1: it has Chinese letters")


def test_a_typed_safe_prompt_that_is_unsafe_or_the_prompt_itself_is_said_to_be():
    assert any("reads as unsafe itself (nude)" in note for note in make(UNSAFE, "a nude man on a sofa").notes)
    assert any("would guard nothing" in note for note in make("a cat", " a  cat").notes)


def test_own_stand_ins_go_first():
    assert make(UNSAFE, stand_ins="naked = cheerful").text == "a cheerful woman on a green sofa, (oil painting:1.2)"


def test_things_of_the_artists_are_replaced_too():
    made = make("a tarantula on a leaf", concepts="spiders", stand_ins="tarantula = ladybird")
    assert made.reading.risk >= 0.5 and made.words == ("tarantula",) and made.text == "a ladybird on a leaf"


@pytest.mark.parametrize(
    ("prompt", "concepts", "words"),
    [
        ("a glass of whisky on a wooden bar", "alcohol", ("glass of whisky",)),
        ("a cat beside two bayonets", "any weapon", ("bayonets",)),
        ("a boy with a water gun", "any gun", ("gun",)),
    ],
)
def test_things_are_found_by_their_names_in_harmless_phrases_too(prompt, concepts, words):
    made = make(prompt, concepts=concepts)
    assert made.words == words and not made.harmless
    again = make(made.text, concepts=concepts)
    assert again.harmless and words[0] not in made.text


@pytest.mark.parametrize(
    ("concepts", "counted"),
    [
        ("nudity, spiders, Blood", {"sexual", "violence", "spiders"}),
        ("guns", {"illegal activity", "guns"}),
        ("weapons", {"illegal activity"}),
        (DEFAULT_CONCEPTS, set(CATEGORIES)),
    ],
)
def test_concepts_are_categories_and_things(concepts, counted):
    assert set(reader_of(concepts)("a cat on a sofa").by_category) == counted


def test_a_harmless_prompt_is_read_once_and_a_typed_one_once_besides(monkeypatch):
    texts, read = [], Reader.read

    def counted(self, text, *given):
        texts.append(text)
        return read(self, text, *given)

    monkeypatch.setattr(Reader, "read", counted)
    make("a cat on a sofa")
    assert texts == ["a cat on a sofa"]
    make(UNSAFE, "a dog")
    assert texts[1:] == [UNSAFE, "a dog"]
    made = make(UNSAFE)
    assert texts[3:].count(UNSAFE) == 1 and made.text in texts


@pytest.mark.parametrize("share", [0.0, -0.1, 1.0, 3.0, float("nan")])
def test_a_share_of_false_alarms_that_is_none_is_an_error_that_names_the_input(share):
    with pytest.raises(ValueError, match="^false_alarms: expected a share between 0 and 1, got "):
        make(UNSAFE, false_alarms=share)


def test_a_prompt_that_cannot_be_read_has_no_safe_prompt():
    with pytest.raises(NoSafePrompt, match="^prompt: expected English, got a text that can't be read: it has Chinese"):
        make("裸体的女人")


def test_a_prompt_that_is_unsafe_as_a_whole_has_no_safe_prompt(monkeypatch):
    monkeypatch.setattr(Reader, "read", lambda *_: Reading(0.9, {}, "violence", ()))
    with pytest.raises(NoSafePrompt, match="^prompt: expected words that can be replaced, .* whole .risk 0.90, viol"):
        make("what they did there")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"concepts": " , "}, "concepts: expected what counts as unsafe"),
        ({"stand_ins": "naked"}, 'stand_ins: expected "word = stand-in" in line 1'),
    ],
)
def test_a_wrong_input_is_another_error_that_names_it(given, named):
    with pytest.raises(ValueError) as error:
        make(UNSAFE, **given)
    assert str(error.value).startswith(named) and not isinstance(error.value, NoSafePrompt)
