"""What should be there instead of something that was found in a picture, as words to add to a prompt.

The artist's own words come first; then the shipped table for what is no thing ("nudity": "fully clothed"); for a thing
its harmless stand-in; then the table of I2P's categories, and at last what helps against most of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from safelight.text.clauses import words_of
from safelight.text.concepts import I2P_CATEGORIES, categories_of
from safelight.text.english import SMALL, article
from safelight.text.kinds import Kinds
from safelight.text.lexicon import folded
from safelight.text.reader import Reader
from safelight.text.stand_ins import NOUN, StandIns

FILE = Path(__file__).with_name("instead.json")


class Instead:
    """own: lines "what was found = what should be there instead", of the artist. knows: whether the text encoder knows
    a word, None where it reads any text.

    Raises ValueError, naming the input, for a line without both.
    """

    def __init__(self, own: str, stand_ins: StandIns, knows: Callable[[str], bool] | None = None) -> None:
        self._own, self._stand_ins, self._knows = _read_lines(own), stand_ins, knows

    def of(self, name: str) -> list[str]:
        """Words to add, the best first; never empty. name: of a finding, "" where that is not known."""
        known = [text for text in dict.fromkeys(self._all(name)) if self.is_known(text)]
        return known or [self._nearest(name)]

    def _all(self, name: str) -> Iterator[str]:
        table, thing = _stored(), Kinds.load().words(name)[0]
        yield from (text for key, text in self._own.items() if key == thing)
        yield from (text for key, text in self._own.items() if _covers(key, thing))
        yield from table["names"].get(thing, ())
        words = thing.split()
        yield from self._nouns(words)
        for key, texts in table["names"].items():
            if _covers(key, thing):
                yield from texts
        for i in range(1, len(words)):
            yield from self._nouns(words[i:])
        for category in sorted(categories_of(thing)):
            yield from table["categories"][category]
        yield from table["anything"]

    def _nouns(self, words: list[str]) -> Iterator[str]:
        own = self._stand_ins.own.get(" ".join(words))
        for one in self._stand_ins.of(words):
            if one.text and (one.part == NOUN or one.text == own):
                yield f"some {one.text}" if one.mass else f"{article(one.text)} {one.text}"

    def is_known(self, text: str) -> bool:
        """Whether the text encoder knows all words of a text."""
        words = [word.text for word in words_of(text) if word.is_word and word.text not in SMALL]
        return self._knows is None or all(map(self._knows, words))

    def _nearest(self, name: str) -> str:
        """For an encoder that knows few words: a harmless thing that it knows."""
        nouns = [noun for noun in self._stand_ins.nouns() if self.is_known(noun)]
        noun = Reader.load().nearest(name or "something", nouns or self._stand_ins.nouns())
        return f"{article(noun)} {noun}"


def _read_lines(own: str) -> dict[str, str]:
    result = {}
    for number, line in enumerate(own.splitlines(), 1):
        if not line.strip():
            continue
        name, _, text = (part.strip() for part in line.partition("="))
        if not name or not text:
            raise ValueError(
                f'instead: expected "what was found = what should be there instead" in line {number}, got '
                f'{line.strip()!r}. Write for example "mug of beer = a cup of tea".'
            )
        result[" ".join(one.text for one in words_of(folded(name)))] = text
    return result


@cache
def _stored() -> dict[str, Any]:
    return json.loads(FILE.read_text("utf-8"))


def _covers(key: str, thing: str) -> bool:
    """Whether a key of a table is a word of the thing's name, its kind, or a category that it belongs to."""
    if not thing:
        return False
    of_category = key in I2P_CATEGORIES and key in categories_of(thing)
    return of_category or Kinds.load().pattern(key).search(thing) is not None
