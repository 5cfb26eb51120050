"""What can be chosen in the place of unsafe words."""

import pytest

from safelight.text import choices
from safelight.text.choices import OTHERS, choices_of
from safelight.text.concepts import DEFAULT_CONCEPTS
from safelight.text.reader import FALSE_ALARMS
from safelight.text.rewrite import DECISION
from safelight.text.safe_prompt import make_safe_prompt, reader_of

CONCEPTS = f"{DEFAULT_CONCEPTS}, any weapon, alcohol"


def made(prompt, stand_ins="", typed="", concepts=CONCEPTS, knows=None):
    """The safe prompt and its choices."""
    safe = make_safe_prompt(prompt, typed, concepts, stand_ins, FALSE_ALARMS, knows)
    return safe, choices_of(safe, concepts, stand_ins, FALSE_ALARMS, knows)


def test_each_unsafe_place_has_its_words_what_becomes_of_them_and_others():
    prompt = "a naked man with a Kitchen Knife, and a beer"
    safe, found = made(prompt)
    assert [prompt[one.start : one.stop] for one in found] == ["naked", "Kitchen Knife", "beer"]
    assert [one.key for one in found] == ["naked", "kitchen knife", "beer"]
    assert all(one.text and one.text in safe.text for one in found)
    assert all(
        0 < len(one.others) <= OTHERS and one.text not in one.others and one.key not in one.others for one in found
    )
    assert not any(one.own or one.kept for one in found)


def test_a_harmless_prompt_has_no_places():
    assert made("a cat in a garden")[1] == ()


def test_every_other_word_gives_a_harmless_prompt_as_a_line_of_the_artist():
    prompt = "a naked woman with a knife"
    read = reader_of(CONCEPTS)
    for one in made(prompt)[1]:
        for other in one.others:
            safe, again = made(prompt, f"{one.key} = {other}")
            assert other in safe.text.lower(), other
            assert read(safe.text).risk < DECISION, safe.text
            (changed,) = [each for each in again if each.key == one.key]
            assert changed.own and not changed.kept and changed.text == other


def test_a_word_that_is_kept_still_has_its_place():
    safe, (one,) = made("a cat and a Knife", "knife = knife")
    assert safe.text == "a cat and a Knife" and safe.reading.risk < DECISION
    assert (one.key, one.own, one.kept) == ("knife", True, True)
    assert one.others


def test_a_word_that_is_left_out_has_no_text():
    safe, (one,) = made("a cat and a knife", "knife =")
    assert "knife" not in safe.text
    assert (one.text, one.own, one.kept) == ("", True, False)


def test_what_the_artist_has_replaced_can_be_chosen_again_where_it_is_harmless_too():
    (one,) = made("a cat in a hat", "hat = cap")[1]
    assert (one.key, one.text, one.own) == ("hat", "cap", True)


def test_an_article_that_changes_too_is_not_of_the_word():
    (one,) = made("a naked man")[1]
    assert one.text == "clothed"
    safe, (other,) = made("a nude in a garden")
    assert safe.text.startswith("a portrait") and other.text == "portrait"
    assert made("an orgy in a barn")[1][0].text.split()[0] not in ("a", "an")


def test_words_that_are_changed_along_with_an_unsafe_one_are_one_place():
    prompt = "a man beside nazi soldiers"
    (one,) = made(prompt)[1]
    assert prompt[one.start : one.stop] == "nazi soldiers"
    assert not any(other.endswith("soldier") for other in one.others)


def test_the_others_have_the_form_of_the_word():
    assert all(other.endswith("s") for one in made("two knives on a table")[1] for other in one.others)
    assert all(other.split()[0].endswith("ing") for one in made("an angry dog killing rats")[1] for other in one.others)


def test_people_are_offered_for_people_alone():
    (knife,) = made("a hand with a knife")[1]
    assert not {"baker", "gardener", "neighbor"} & {*knife.others}


def test_no_word_is_offered_that_the_encoder_does_not_know_or_that_is_unsafe_to_the_artist():
    words = {"a", "cat", "and", "knife", "spoon", "broom"}
    (one,) = made("a cat and a knife", knows=words.__contains__)[1]
    assert {one.text, *one.others} == {"spoon", "broom"}
    (one,) = made("a cat and a knife", concepts=f"{CONCEPTS}, umbrella")[1]
    assert "umbrella" not in one.others
    assert "umbrella" in made("a cat and a knife")[1][0].others


def test_places_count_characters():
    prompt = "🙂 a knife"
    (one,) = made(prompt)[1]
    assert prompt[one.start : one.stop] == "knife"


def test_a_typed_safe_prompt_has_no_choices():
    assert made("a cat and a knife", typed="a cat and a spoon")[1] == ()


@pytest.mark.parametrize(
    "text", ["torture of a naked man, he stabs corpses", "a killer, a Naked Killer's bloody blade (gun:1.2)"]
)
def test_places_stand_in_order_and_apart(text):
    places = [(one.start, one.stop) for one in made(text)[1]]
    assert places and all(a[1] <= b[0] for a, b in zip(places, places[1:], strict=False))


def test_a_stand_in_is_read_once(monkeypatch):
    made("a cat and a knife")
    monkeypatch.setattr(choices, "reader_of", lambda *_: pytest.fail("read again"))
    made("a dog and a knife")
