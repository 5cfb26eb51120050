"""Which token of a safe text stands where one of the prompt stood."""

from __future__ import annotations

import pytest

from safelight.text.alignment import aligned


@pytest.mark.parametrize(
    ("prompt", "safe", "places"),
    [
        ("a cat and a gun on red", "a cat and a cup on red", [0, 1, 2, 3, 4, 5, 6]),
        ("a cat and a gun on red", "a cat and a bunch of roses on red", [0, 1, 2, 3, 6, 7, 8]),  # to its last word
        ("a kitchen knife on red", "a rose on red", [0, 1, 1, 2, 3]),
        ("one two three on red", "x y on red", [0, 1, 1, 2, 3]),  # the later ones share the last
        ("one two on red", "w x y z on red", [1, 3, 4, 5]),  # two each
        ("a naked man on red", "a man on red", [0, None, 1, 2, 3]),
        ("a man on red", "a man in a suit on red", [0, 1, 5, 6]),  # what was put in has no place of its own
        ("", "a rose", []),
        ("a gun", "", [None, None]),
        ("gun", "rose", [0]),
    ],
)
def test_every_word_points_to_the_one_in_its_place(prompt, safe, places):
    assert aligned(prompt.split(), safe.split()) == places


def test_frequent_words_of_long_texts_count_too():
    words = ["a", "cat", "and"] * 100
    assert aligned(words, ["rose", *words[1:]]) == list(range(300))
