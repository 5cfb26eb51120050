"""The table of stand-ins: a harmless word for an unsafe one, of the same grammar, by category and part of speech."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from safelight.text.clauses import words_of
from safelight.text.english import ING, PARTICIPLE, PAST, PLAIN, THIRD, VERB_FORMS, Irregular, plural, verb_form
from safelight.text.lexicon import any_of, folded

FILE = Path(__file__).with_name("stand_ins.json")
ADJECTIVE, NOUN, VERB, PHRASE, STYLE = ("adjective", "noun", "verb", "phrase", "style")
PLURAL = "plural"
LONGEST = 7  # words of an entry


@dataclass(frozen=True)
class StandIn:
    """text: what takes the place, "" where the word is left out; after: the same where it does not stand before a noun.

    mass: whether it has no article and no plural. part: of speech.
    """

    text: str
    after: str
    part: str
    mass: bool = False


class StandIns:
    """The shipped table and the artist's own. Of several stand-ins for a word the first that is known is taken.

    own: lines "word = stand-in", an empty one to leave the word out.
    """

    def __init__(self, stored: Mapping[str, Any], own: str = "") -> None:
        self.left = frozenset(stored["left"])
        self.adjectives = frozenset(stored["adjectives"])
        self.people = frozenset(stored["people"])
        self.harmless = self.people | frozenset(stored["nouns"])
        self._nouns = list(stored["nouns"])
        self._irregular: Irregular = stored["irregular"]
        self._entries: dict[tuple[str, ...], list[StandIn]] = {}
        self.own = read_lines(own)
        kept = [word for word, stand_in in self.own.items() if folded(stand_in) == word]
        self._kept_words = any_of(kept) if kept else None
        for word, text in self.own.items():
            self._add(word, StandIn(text, text, PHRASE))
        for by_part in stored["table"].values():
            for part, entries in by_part.items():
                for word, values in entries.items():
                    for value in values if isinstance(values, list) else [values]:
                        self._add_forms(word, value, part)

    @classmethod
    @cache
    def load(cls, own: str = "") -> StandIns:
        return cls(cls.stored(), own)

    @staticmethod
    def stored() -> dict[str, Any]:
        """The shipped table: words by category and part of speech, irregular forms, and words that go with others."""
        return json.loads(FILE.read_text("utf-8"))

    def of(self, words: Sequence[str]) -> list[StandIn]:
        """For these words as a whole, lower case; the artist's own first."""
        return self._entries.get(tuple(words), [])

    def without_kept(self, text: str) -> str:
        """The text with spaces in the place of words that the artist keeps ("knife = knife")."""
        pieces = list(text)
        for start, stop in self._kept(text):
            pieces[start:stop] = " " * (stop - start)
        return "".join(pieces)

    def kept_in(self, text: str) -> list[str]:
        """The words of a text that the artist keeps."""
        return list(dict.fromkeys(text[start:stop] for start, stop in self._kept(text)))

    def _kept(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in self._kept_words.finditer(folded(text))] if self._kept_words else []

    def owners(self, words: Sequence[str]) -> list[StandIn]:
        """For a noun that something belongs to: "killer's"."""
        owner = re.fullmatch(r"(.+)(['’]s)", words[-1])
        if not owner:
            return []
        nouns = [one for one in self.of([*words[:-1], owner[1]]) if one.part == NOUN]
        return [StandIn(one.text + owner[2], one.text + owner[2], PHRASE) for one in nouns]

    def nouns(self) -> list[str]:
        """Harmless nouns of one word, things that are easy to draw."""
        return self._nouns

    def _add_forms(self, word: str, value: Any, part: str) -> None:
        before, after = (value["before"], value["after"]) if isinstance(value, dict) else (value, value)
        mass = before.startswith("~")
        before, after = before.removeprefix("~"), after.removeprefix("~")
        if part == VERB:
            for form in VERB_FORMS:
                text = verb_form(before, form, self._irregular)
                for spelt in self._spellings(word, form):
                    self._add(spelt, StandIn(text, text, VERB))
            return
        self._add(word, StandIn(before, after, part, mass))
        if part == NOUN:
            text = before if mass else plural(before)
            for spelt in [plural(word), *self._irregular.get(word, {}).get(PLURAL, ())]:
                self._add(spelt, StandIn(text, text, NOUN, mass=True))

    def _spellings(self, verb: str, form: str) -> list[str]:
        first, gap, rest = verb.partition(" ")
        known = self._irregular.get(first, {})
        further = {PARTICIPLE: (PARTICIPLE, PAST), PAST: (PAST,), ING: (ING,), THIRD: (THIRD,), PLAIN: ()}[form]
        spelt = [verb_form(first, form, self._irregular), *(one for which in further for one in known.get(which, ()))]
        return [one + gap + rest for one in dict.fromkeys(spelt)]

    def _add(self, word: str, stand_in: StandIn) -> None:
        key = tuple(one.text for one in words_of(folded(word)))
        entries = self._entries.setdefault(key, [])
        if key and stand_in not in entries:
            entries.append(stand_in)


def read_lines(own: str) -> dict[str, str]:
    """The artist's lines "word = stand-in" as a dict. Raises ValueError, naming the input, for a line without both."""
    result = {}
    for number, line in enumerate(own.splitlines(), 1):
        if not line.strip():
            continue
        word, sign, text = (part.strip() for part in line.partition("="))
        if not sign or not word:
            raise ValueError(
                f'stand_ins: expected "word = stand-in" in line {number}, got {line.strip()!r}. Write for example '
                '"knife = spoon", or "knife =" to leave the word out.'
            )
        result[" ".join(one.text for one in words_of(folded(word)))] = text
    return result
