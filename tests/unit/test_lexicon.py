"""The list of unsafe words and of harmless phrases."""

import pytest

from safelight.text.lexicon import ENGLISH, Lexicon, folded

SMALL = Lexicon(
    {"en": {"violence": ["killer*", "slit throat", "gore"]}, "de": {"sexual": ["brüste"]}, "ja": {"sexual": ["裸"]}},
    ["killer whale*", "al gore"],
)


def hits(text, lexicon=SMALL):
    return [(text[hit.start : hit.stop], hit.category, hit.language) for hit in lexicon.hits(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a KILLERS hat", ["KILLERS"]),
        ("slit-throat and slit  throat", ["slit-throat", "slit  throat"]),
        ("gorecore, category", []),
        ("Brüste brüste", ["Brüste", "brüste"]),
        ("美しい裸婦", ["裸"]),
        ("a killer whale and a killer", ["killer"]),
        ("Al Gore in gore", ["gore"]),
        ("", []),
    ],
)
def test_hits(text, words):
    assert [word for word, *_ in hits(text)] == words


def test_harmless_phrases_are_told_with_their_places():
    text = "two Killer Whales, al gore"
    assert [text[start:stop] for start, stop in SMALL.spared(text)] == ["Killer Whales", "al gore"]
    assert Lexicon({}, []).spared(text) == []


def test_folding_keeps_every_place():
    for text in ("Ünï", "İstanbul", "ﬁn", "Straße", "Ⅷ", "裸"):
        assert len(folded(text)) == len(text)
    assert folded("ÉÀÇ x") == "eac x"


def test_the_shipped_lists_name_categories_and_spare_their_exceptions():
    lexicon = Lexicon.load()
    assert [hit.category for hit in lexicon.hits("a swastika")] == ["hate"]
    for phrase in ("killer whales", "a nude lipstick", "blood orange"):
        assert not [hit for hit in lexicon.hits(phrase) if hit.language == ENGLISH]
