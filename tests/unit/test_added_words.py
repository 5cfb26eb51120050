"""The safe prompt for what was found: where words are added, which ones, and that they read as harmless."""

import json

import pytest

from safelight.text import instead
from safelight.text.added_words import AddedWords, with_added
from safelight.text.concepts import DEFAULT_CONCEPTS, I2P_CATEGORIES, TEMPLATE_CONCEPTS
from safelight.text.instead import Instead
from safelight.text.reader import FALSE_ALARMS
from safelight.text.rewrite import DECISION
from safelight.text.safe_prompt import NoSafePrompt, reader_of
from safelight.text.stand_ins import StandIns

TEA, SPOON, DRESSED = "a cup of tea", "a wooden spoon", "fully clothed"
STORED = json.loads(instead.FILE.read_text("utf-8"))


def made(prompt, *names, knows=None, **inputs):
    given = {"safe_prompt": "", "concepts": TEMPLATE_CONCEPTS, "instead": "", "caption": "", "stand_ins": ""}
    return AddedWords(prompt, **{**given, **inputs}, false_alarms=FALSE_ALARMS, knows=knows).text(names)


# -- where they stand


@pytest.mark.parametrize(
    ("prompt", "additions", "text"),
    [
        ("a cat at a party", [TEA], "a cat at a party with a cup of tea"),
        ("a cat at a party", [TEA, SPOON], "a cat at a party with a cup of tea and a wooden spoon"),
        ("a cat", [DRESSED, TEA], "a cat with a cup of tea, fully clothed"),
        ("a cat with a hat", [TEA], "a cat with a hat and a cup of tea"),
        ("a cat", ["with folded arms"], "a cat with folded arms"),
        ("a cat at a party.", [TEA], "a cat at a party with a cup of tea."),
        ("a cat <lora:party:0.8>", [TEA], "a cat with a cup of tea <lora:party:0.8>"),
        (
            "(a cat:1.2) BREAK masterpiece",
            [TEA, DRESSED],
            "(a cat:1.2) with a cup of tea, fully clothed BREAK masterpiece",
        ),
        ("a cat:1.2 AND a dog:0.8", [DRESSED], "a cat:1.2, fully clothed AND a dog:0.8"),
        ("BREAK a cat", [DRESSED], "BREAK a cat, fully clothed"),
        ("a cat, embedding:good", [DRESSED], "a cat, embedding:good, fully clothed"),
        ("a {cat|dog}\n", [TEA], "a {cat|dog}, cup of tea\n"),
        ("1girl, solo, outdoors, ", [TEA, DRESSED], "1girl, solo, outdoors, cup of tea, fully clothed, "),
        ("", [TEA], "a cup of tea"),
        ("  ", [DRESSED], "fully clothed  "),
        ("a cat", [], "a cat"),
    ],
)
def test_words_end_the_first_part_as_its_form_asks(prompt, additions, text):
    assert with_added(prompt, additions) == text


# -- which ones


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("female breast exposed", DRESSED),
        ("buttocks exposed", DRESSED),
        ("feet exposed", "wearing shoes"),
        ("nudity", DRESSED),
        ("people having sex", "fully clothed, standing side by side"),
        ("blood", "clean and healthy"),
        ("a wound", "clean and healthy"),
        ("drop of blood", "a drop of water"),
        ("mug of beer", "a mug of cocoa"),
        ("a gun", "a camera"),
        ("any weapon", "a tool"),
        ("weapons", "some tools"),
        ("rusty kitchen knife", SPOON),
        ("hate", "friendly and peaceful"),
        ("something strange", "fully clothed, clean and calm"),
        ("", "fully clothed, clean and calm"),
    ],
)
def test_a_state_gets_its_opposite_and_a_thing_its_stand_in(name, first):
    assert Instead("", StandIns.load()).of(name)[0] == first


def test_the_artists_own_come_first_by_name_kind_and_category():
    own = Instead("alcohol = a cup of tea\nwine = a vase\nsexual = in a spacesuit", StandIns.load("gun = kite"))
    assert own.of("mug of beer")[0] == TEA and own.of("wine")[:2] == ["a vase", TEA]
    assert own.of("nudity")[0] == "in a spacesuit" and own.of("gun")[0] == "a kite"


def test_an_encoder_of_few_words_gets_words_that_it_knows():
    known = {"cup", "coffee", "cat", "party", "ball"}
    own = Instead("", StandIns.load(), known.__contains__)
    assert own.of("mug of beer") == ["a cup of coffee"] and own.of("nudity") == ["a cup"]


def test_the_table_covers_every_category_and_reads_as_harmless():
    read = reader_of(DEFAULT_CONCEPTS)
    assert set(STORED["categories"]) == set(I2P_CATEGORIES)
    texts = {text for part in (STORED["names"], STORED["categories"]) for texts in part.values() for text in texts}
    for text in texts | {*STORED["anything"]}:
        for prompt in ("a woman in a garden", "1girl, solo, outdoors", ""):
            assert read(with_added(prompt, [text])).risk < DECISION, (prompt, text)


@pytest.mark.parametrize("name", [term for terms in I2P_CATEGORIES.values() for term in terms])
def test_every_term_of_the_default_concepts_has_words_of_its_own(name):
    assert Instead("", StandIns.load()).of(name)[0] not in STORED["anything"]


# -- the safe prompt


def test_several_finds_give_several_words_each_once():
    assert made("a cat at a party", "mug of beer", "kitchen knife", "buttocks exposed", "nudity") == (
        "a cat at a party with a mug of cocoa and a wooden spoon, fully clothed"
    )


def test_what_the_prompt_says_already_gives_way_to_the_next():
    assert made("a woman, fully clothed", "nudity") == "a woman, fully clothed, wearing a warm coat"
    assert made("a cat with a mug of cocoa", "mug of beer") == "a cat with a mug of cocoa and a cup of coffee"


def test_words_that_read_as_unsafe_give_way_to_the_next():
    assert made("a woman", "nudity", instead="nudity = covered in blood") == "a woman, fully clothed"
    assert made("a woman", "nudity", concepts="coats, nudity", instead="nudity = wearing a coat") == (
        "a woman, fully clothed"
    )


def test_it_is_never_the_prompt_as_written():
    words = "in clothing, fully clothed, wearing a warm coat, fully clothed, clean and calm, a calm everyday scene"
    for prompt in ("a cat", "", f"a cat {words}"):
        for names in (["nudity"], [""], ["mug of beer"]):
            assert made(prompt, *names) != prompt


def test_an_unsafe_prompt_is_rewritten_first_and_what_that_replaced_adds_nothing():
    assert made("a cat and a knife", "nudity", stand_ins="knife = spoon") == "a cat and a spoon, fully clothed"
    assert made("a cat and a knife", "knife", stand_ins="knife = spoon") == "a cat and a spoon"
    assert made("a cat and a knife", "nudity", safe_prompt="一只猫") == "一只猫, fully clothed"
    with pytest.raises(NoSafePrompt):
        made("一只猫", "nudity")


def test_a_caption_is_rewritten_where_it_names_something_unsafe():
    assert made("a woman", caption="1girl, nude, outdoors") == "1girl, fully clothed, outdoors"
    assert made("a woman", caption="long_hair, completely_nude") == "long_hair, fully_clothed"
    assert made("a cat", caption="a cat and a mug of beer at a party") == "a cat and a mug of cocoa at a party"
    assert made("a cat", "mug of beer", caption="a cat at a party") == "a cat with a mug of cocoa"
    assert made("a cat", "mug of beer", caption="派对上的猫") == "a cat with a mug of cocoa"


def test_wrong_lines_are_named():
    expected = 'instead: expected "what was found = what should be there instead" in line '
    for lines in ("beer", "= tea"):
        with pytest.raises(ValueError, match=f"{expected}1"):
            made("a cat", instead=lines)
    with pytest.raises(ValueError, match=f"{expected}2, got 'beer ='"):
        made("a cat", instead="wine = tea\nbeer =")
