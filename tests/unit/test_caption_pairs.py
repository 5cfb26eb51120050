"""Pairs of an unsafe caption and its safe twin, made of concepts."""

from __future__ import annotations

import pytest

from safelight.text.anchors import UNSAFE
from safelight.text.caption_pairs import EACH, caption_pairs, unsafe_phrases
from safelight.text.concepts import DEFAULT_CONCEPTS, split_concepts
from safelight.text.safe_prompt import reader_of

PHRASES = ["a cat on a table", "a red car", "two friends"]


def test_a_thing_brings_its_kind_and_a_term_the_phrases_of_its_category():
    assert {"any weapon", "a kitchen knife", "an axe", "a gun"} <= set(unsafe_phrases(["any weapon"]))
    assert unsafe_phrases(["nudity"]) == list(dict.fromkeys(["nudity", *UNSAFE["sexual"]]))
    everything = unsafe_phrases(split_concepts(DEFAULT_CONCEPTS))
    assert len(everything) == len(set(everything)) and {p for ps in UNSAFE.values() for p in ps} <= set(everything)


def test_the_twin_says_the_same_without_what_is_unsafe():
    pairs = list(caption_pairs(["spiders"], PHRASES, seed=1))[::6]
    assert all(pair is not None for pair in pairs)
    unsafe = reader_of("spiders")
    for caption, twin in pairs:
        assert unsafe(caption).risk >= 0.5 > unsafe(twin).risk
        assert all(twin.count(phrase) >= caption.count(phrase) for phrase in PHRASES), (caption, twin)


@pytest.mark.parametrize("concepts, most", [(["spiders"], 30), (["spiders"], 8)])
def test_their_number_is_bounded_and_follows_the_seed(monkeypatch, concepts, most):
    monkeypatch.setattr("safelight.text.caption_pairs.MOST", most)
    one, again, other = (list(caption_pairs(concepts, PHRASES * 9, seed)) for seed in (1, 1, 2))
    assert one == again and one != other
    count = len(unsafe_phrases(concepts))
    assert len(one) == (most if most < 2 * count else count * min(most // count, EACH))
    alone = sum(caption in unsafe_phrases(concepts) for caption, _ in filter(None, one))
    assert 0 < alone <= len(one) / 2  # the others are in company


def test_a_phrase_with_a_word_that_the_encoder_does_not_know_is_left_out():
    known = {"knife", "kitchen", "weapon", "spoon", "tool", "cat", "table", "car", "red", "two", "friends"}
    phrases = unsafe_phrases(["a weapon"], known.__contains__)
    assert phrases == ["a weapon", "a knife", "a kitchen knife"]
    pairs = list(caption_pairs(["a weapon"], PHRASES, 0, known.__contains__))
    assert pairs[0] == ("a weapon", "a tool")


def test_what_is_not_english_gives_no_pair():
    assert set(caption_pairs(["\u30ca\u30a4\u30d5"], PHRASES, 0)) <= {None}
