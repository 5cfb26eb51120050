"""The table of stand-ins and the artist's lines."""

import time

import pytest

from safelight.text.lexicon import ENGLISH, Lexicon
from safelight.text.stand_ins import ADJECTIVE, NOUN, PHRASE, VERB, StandIns, read_lines


def texts(table, *words, part=None):
    return [one.text for one in table.of(words) if part in (None, one.part)]


def test_what_the_table_puts_in_is_harmless_itself():
    stored, lexicon = StandIns.stored(), Lexicon.load()
    values = [
        text.removeprefix("~")
        for by_part in stored["table"].values()
        for entries in by_part.values()
        for several in entries.values()
        for value in (several if isinstance(several, list) else [several])
        for text in (value.values() if isinstance(value, dict) else [value])
    ]
    assert len(values) > 3000
    listed = [text for text in [*values, *stored["nouns"], *stored["people"]] if lexicon.hits(text)]
    assert [text for text in listed if any(hit.language == ENGLISH for hit in lexicon.hits(text))] == []


def test_nouns_to_fall_back_on_are_single_words_that_the_table_does_not_replace():
    table = StandIns.load("")
    assert len(table.nouns()) > 100
    assert [noun for noun in table.nouns() if not noun.isalpha() or table.of([noun])] == []


def test_the_table_is_built_fast():
    stored = StandIns.stored()
    start = time.process_time()
    StandIns(stored)
    assert time.process_time() - start < 1  # 0.2 s on an idle core


def test_forms_of_a_word_have_the_same_form_of_the_stand_in():
    table = StandIns(
        {
            "table": {"x": {NOUN: {"knife": "spoon", "gore": "~water"}, VERB: {"stab": "greet"}}},
            "irregular": {"stab": {"past": ["stabbed"]}, "knife": {"plural": ["knives"]}},
            **{"left": [], "adjectives": [], "people": [], "nouns": []},
        }
    )
    assert texts(table, "knife") == ["spoon"] and texts(table, "knives") == ["spoons"]
    assert texts(table, "stabs") == ["greets"] and texts(table, "stabbed") == ["greeted"]
    assert table.of(["gore"])[0].mass and texts(table, "gore") == ["water"]
    assert [one.text for one in table.owners(["knife's"])] == ["spoon's"]
    assert table.owners(["knife"]) == []


def test_several_stand_ins_keep_their_order():
    table = StandIns(
        {
            "table": {"x": {NOUN: {"knife": ["spoon", "~bread"]}, ADJECTIVE: {"nude": ["clothed", "dressed"]}}},
            "irregular": {},
            **{"left": [], "adjectives": [], "people": [], "nouns": []},
        },
        "knife = fork",
    )
    assert texts(table, "knife") == ["fork", "spoon", "bread"] and texts(table, "nude") == ["clothed", "dressed"]
    assert [one.mass for one in table.of(["knife"])] == [False, False, True]


def test_of_several_stand_ins_no_two_are_the_same():
    for by_part in StandIns.stored()["table"].values():
        for entries in by_part.values():
            lists = {word: values for word, values in entries.items() if isinstance(values, list)}
            assert [word for word, values in lists.items() if len({str(one) for one in values}) < len(values)] == []


def test_an_adjective_differs_before_a_noun_and_behind_it():
    entry = next(one for one in StandIns.load("").of(["nude"]) if one.part == ADJECTIVE)
    assert (entry.text, entry.after) == ("clothed", "fully clothed")


def test_the_artists_own_come_first():
    first = StandIns.load("Knife = fork").of(["knife"])[0]
    assert (first.text, first.part) == ("fork", PHRASE)


def test_lines():
    assert read_lines("Knife = fork\n\n gun=\n ice-cream, red = x = y") == {
        "knife": "fork",
        "gun": "",
        "ice-cream , red": "x = y",
    }


@pytest.mark.parametrize("line", ["knife", "= fork", "="])
def test_a_line_without_a_word_and_a_sign_is_an_error_that_says_where(line):
    with pytest.raises(ValueError, match="stand_ins: .* line 2"):
        read_lines(f"gun = pen\n{line}")
