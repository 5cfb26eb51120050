"""The harmless texts that an edit is measured by."""

from __future__ import annotations

from safelight.text.anchors import BENIGN
from safelight.text.harmless_texts import MOST, harmless_texts
from safelight.text.reader import Reader


def test_they_are_harmless_different_and_none_that_an_edit_keeps():
    texts = harmless_texts()
    assert len(texts) == len(set(texts)) == MOST and not set(texts) & set(BENIGN)
    reader = Reader.load()
    risky = [text for text in texts[::8] if reader.read(text).risk >= 0.5]
    assert not risky


def test_an_encoder_gets_the_words_that_it_knows():
    known = {"cat", "dog", "house", "spoon"}
    texts = harmless_texts(known.__contains__)
    assert {"a dog", "a house", "a spoon"} <= set(texts)
    assert {word for text in texts for word in text.split()} == known | {"a", "near"}
