"""What a sentence is to its words, and what goes with words that are left out."""

import pytest

from safelight.text.clauses import words_of
from safelight.text.mending import Sentence
from safelight.text.stand_ins import StandIns


def sentence_of(prompt):
    return Sentence(prompt, words_of(prompt), StandIns.load(""))


def test_clauses_end_at_signs_lines_and_parts_of_a_prompt():
    prompt = "a cat, (a dog:1.2) here\nrain BREAK snow {red|blue}"
    sentence = sentence_of(prompt)
    clauses = {sentence.clause(i) for i, word in enumerate(words_of(prompt)) if word.is_word}
    texts = [" ".join(sentence.texts[start:stop]) for start, stop in sorted(clauses)]
    assert texts == ["a cat", "a dog here", "rain", "snow", "red", "blue"]


def test_neighbours_end_with_the_clause():
    sentence = sentence_of("red cat, dog")
    assert (sentence.before(0), sentence.before(1), sentence.before(3)) == ("", "red", "")
    assert (sentence.after(1), sentence.after(2), sentence.after(4)) == ("cat", "", "")


@pytest.mark.parametrize(
    ("prompt", "start", "stop", "gone", "text"),
    [
        ("a man holding a big thing", 5, 6, "holding a big thing", ""),
        ("a man covered in mud", 4, 5, "covered in mud", ""),
        ("a man shouting at a wall", 2, 3, "shouting at", "beside"),
        ("a man shouting in a room", 2, 3, "shouting", ""),
        ("a man shouting at night", 2, 3, "shouting", ""),
        ("mud on a wall", 0, 1, "mud on", ""),
        ("a foggy wall", 1, 2, "foggy", ""),
        ("the grocers are here", 1, 2, "grocers", "people"),
        ("a man who is shouting at her", 4, 5, "who is shouting at", "beside"),
        ("sleeve rolled up over mud on it", 3, 5, "over mud", ""),
    ],
)
def test_what_goes_with_words(prompt, start, stop, gone, text):
    first, last, instead = sentence_of(prompt).without(start, stop)
    assert (" ".join(prompt.split()[first:last]), instead) == (gone, text)
