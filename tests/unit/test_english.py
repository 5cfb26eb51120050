"""Forms of English words."""

import pytest

from safelight.text.english import (
    ING,
    PAST,
    PLAIN,
    THIRD,
    THRUSTING,
    article,
    looks_like_adjective,
    looks_like_person,
    plural,
    verb_form,
)

IRREGULAR = {"hold": {"past": ["held"]}, "take": {"past": ["took"], "participle": ["taken"]}}


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        *(("cat", "cats"), ("box", "boxes"), ("wish", "wishes"), ("city", "cities"), ("toy", "toys")),
        *(("woman", "women"), ("knife", "knives"), ("sheep", "sheep"), ("old man", "old men"), ("hero", "heroes")),
        *(("drop of water", "drops of water"), ("glass of milk", "glasses of milk"), ("human", "humans")),
    ],
)
def test_plurals(noun, many):
    assert plural(noun) == many


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("greet", ("greet", "greets", "greeting", "greeted", "greeted")),
        ("hug", ("hug", "hugs", "hugging", "hugged", "hugged")),
        ("wave to", ("wave to", "waves to", "waving to", "waved to", "waved to")),
        ("carry", ("carry", "carries", "carrying", "carried", "carried")),
        ("hold", ("hold", "holds", "holding", "held", "held")),
        ("take", ("take", "takes", "taking", "took", "taken")),
    ],
)
def test_verbs(verb, forms):
    assert tuple(verb_form(verb, form, IRREGULAR) for form in ("plain", "s", "ing", "past", "participle")) == forms


def test_articles():
    assert [article(word) for word in ("cat", "apple", "hour", "uniform", "one", "Umbrella", "x")] == [
        *("a", "an", "an", "a", "a", "an", "a"),
    ]


def test_words_for_persons_and_adjectives_are_told_by_their_ends():
    assert all(map(looks_like_person, ("carjacker", "arsonists", "hitman", "gunmen", "extortionist")))
    assert not any(map(looks_like_person, ("murder", "under", "together", "cat", "wrist")))
    assert all(map(looks_like_adjective, ("gruesomeless", "horrific-looking", "monstrous", "pus-filled")))
    assert not any(map(looks_like_adjective, ("cat", "stab", "killing")))


def test_forms_of_verbs_that_drive_something_are_told_apart():
    forms = [THRUSTING.get(word) for word in ("drives", "drove", "driving", "drive", "stabbed", "held", "pressed")]
    assert forms == [THIRD, PAST, ING, PLAIN, None, PAST, PAST]
