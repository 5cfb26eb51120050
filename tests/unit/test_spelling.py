"""Watched words behind slips, digits and signs."""

import pytest

from safelight.text.clauses import words_of
from safelight.text.spelling import Speller

SPELLER = Speller(["naked", "nude", "murder", "blood", "gore"], ["baked", "note", "more", "flood", "the"])


def repaired(prompt):
    return [word.text for word in SPELLER.repaired(words_of(prompt))]


@pytest.mark.parametrize(
    "slip", ["nakde", "nakked", "n4ked", "nak3d", "n.a.k.e.d", "n a k e d", "na-ked", "nkaed", "n@ked"]
)
def test_slips_are_repaired(slip):
    assert repaired(f"the {slip} man") == ["the", "naked", "man"]


@pytest.mark.parametrize("word", ["baked", "flood", "more", "note", "naked", "1girl", "2024", "knife-wielding", "nue"])
def test_plain_words_and_figures_stay(word):
    assert repaired(word) == [word]


@pytest.mark.parametrize("slip", ["nuvde", "gor", "gorre ", "goer"])
def test_short_words_may_have_swapped_and_doubled_letters_alone(slip):
    expected = {"gorre ": "gore", "goer": "gore"}.get(slip, slip)
    assert repaired(slip) == [expected]


def test_repaired_words_lie_where_the_prompt_has_them():
    prompt = "a  n a k e d m4n, murdre!"
    found = {word.text: prompt[word.start : word.stop] for word in SPELLER.repaired(words_of(prompt))}
    assert found["naked"] == "n a k e d" and found["murder"] == "murdre"
