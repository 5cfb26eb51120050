"""Things of the artist's own by name, and the table of kinds of things."""

import json
from collections import Counter

import pytest

from safelight.text.english import plural
from safelight.text.kinds import FILE, Kinds
from safelight.text.lexicon import folded

TABLE = json.loads(FILE.read_text("utf-8"))
SMALL = Kinds(
    {
        "weapon": {"names": ["weapon", "weaponry"], "members": ["knife", "bow and arrow"]},
        "knife": {"names": ["knife"], "members": ["bread knife"]},
        "drink": {"names": ["drink", "glass of drink"], "members": ["glass of wine", "sake-bottle"]},
    }
)


def found(thing, text, kinds=SMALL):
    return [match[0] for match in kinds.pattern(thing).finditer(folded(text))]


@pytest.mark.parametrize(
    "thing",
    [
        "weapon",
        "Weapons",
        "a weapon",
        "any  weapon",
        "some weaponry",
        "the weapons",
        "all kinds of weapons",
        "any kind of weapon",
        "any sort of a weapon",
        "every weapon",
        "weapons of any kind",
    ],
)
def test_what_only_leads_to_a_thing_is_left_out(thing):
    assert SMALL.has(thing) and found(thing, "a Knife, bows, a bow and arrow") == ["knife", "bow and arrow"]


@pytest.mark.parametrize("thing", ["any", "kind of", "the", "a", "of any kind", "", "kindness", "anything"])
def test_a_word_that_leads_to_nothing_is_a_thing_itself(thing):
    assert not SMALL.has(thing) and found(thing or "x", "a weapon, a knife") in ([], ["a", "a"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("knives and KNIFE", ["knives", "knife"]),
        ("two bread knives", ["bread knives"]),
        ("penknife, knifed", []),
        ("a bread-knife", ["bread-knife"]),
    ],
)
def test_a_thing_is_found_as_a_whole_word_in_the_singular_and_in_the_plural(text, words):
    assert found("a knife", text) == words


def test_of_a_phrase_the_noun_that_leads_it_has_a_plural():
    assert found("drinks", "glasses of  wine, a glass of wine, sake bottles") == [
        "glasses of  wine",
        "glass of wine",
        "sake bottles",
    ]


def test_a_kind_has_other_names():
    assert SMALL.words("weaponry") == ["weaponry", "weapon", "knife", "bow and arrow"]
    assert SMALL.words("a knife") == ["knife", "bread knife"], "a member that is a kind itself stands for its own alone"


@pytest.mark.parametrize("thing", ["an umbrella", "Umbrella", "some umbrella"])
def test_a_thing_that_is_no_kind_has_its_own_words_alone(thing):
    assert not SMALL.has(thing) and SMALL.words(thing) == ["umbrella"]
    assert found(thing, "umbrellas, a parasol, an Umbrella") == ["umbrellas", "umbrella"]


def test_accents_and_capitals_make_no_difference():
    assert found("Café", "a cafe, two CAFÉS") == ["cafe", "cafes"]


# --- the table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLE)
def test_the_words_of_a_kind_are_plain_and_stand_there_once(kind):
    names, members = TABLE[kind]["names"], TABLE[kind]["members"]
    words = [*names, *members]
    assert kind in names or plural(kind) in names or kind == names[0]
    assert [word for word in words if word != folded(word) or word != " ".join(word.split())] == []
    assert [word for word, count in Counter(words).items() if count > 1] == []


def test_no_name_stands_for_two_kinds():
    counts = Counter(form for entry in TABLE.values() for name in entry["names"] for form in {name, plural(name)})
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("kind", TABLE)
def test_a_kind_is_found_by_every_name_and_member(kind):
    kinds = Kinds.load()
    for name in TABLE[kind]["names"]:
        for thing in (name, plural(name), f"any {name}"):
            assert kinds.has(thing)
            for word in (*TABLE[kind]["names"], *TABLE[kind]["members"]):
                assert found(thing, f"see {word} here", kinds) and found(thing, f"see {plural(word)} here", kinds)


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ("any weapon", "a woman with open arms"),
        ("alcohol", "a stout man, an aleutian island, a ginger cat"),
        ("a drug", "a pilgrim in a drugget coat"),
        ("skulls", "a sculler on a lake"),
    ],
)
def test_what_only_sounds_alike_is_no_such_thing(thing, text):
    assert found(thing, text, Kinds.load()) == []
