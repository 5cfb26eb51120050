"""A prompt in words and clauses."""

import pytest

from safelight.text.clauses import LONGEST, Word, clauses_of, words_of


def clauses(prompt):
    return [" ".join(word.text for word in clause) for clause in clauses_of(prompt, words_of(prompt))]


def test_words_lie_where_the_prompt_has_them():
    prompt = "A man's half-naked dog, (red:1.3)\n c.a.t!"
    for word in words_of(prompt):
        assert prompt[word.start : word.stop] == word.text
    assert [word.text for word in words_of(prompt)][:4] == ["A", "man's", "half-naked", "dog"]


@pytest.mark.parametrize(
    ("stretch", "overlaps"),
    [((0, 9), True), ((4, 5), True), ((0, 4), True), ((5, 9), True), ((0, 3), False), ((6, 9), False), ((4, 4), True)],
)
def test_a_word_overlaps_a_stretch_that_has_a_sign_of_it(stretch, overlaps):
    assert Word("cat", 3, 6).overlaps(*stretch) is overlaps


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("cat, dog, red", ["cat , dog , red"]),
        ("a cat in the rain, a dog in the snow", ["a cat in the rain ,", "a dog in the snow"]),
        ("a cat in the rain\na dog in the snow", ["a cat in the rain", "a dog in the snow"]),
        ("", []),
        (", . !", []),
    ],
)
def test_clauses_part_where_the_text_does(prompt, parts):
    assert clauses(prompt) == parts


def test_long_clauses_are_parted_and_no_word_is_lost():
    prompt = " ".join(f"word{i} with" if i % 5 == 4 else f"word{i}" for i in range(60))
    found = clauses_of(prompt, words_of(prompt))
    assert max(map(len, found)) <= LONGEST
    assert [word for clause in found for word in clause] == words_of(prompt)
