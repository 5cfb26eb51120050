"""Spelling repair: a watched word behind a slip of the finger, digits for letters, or signs between its letters."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from safelight.text.clauses import Word
from safelight.text.lexicon import folded

_LEET = str.maketrans("013457@$!|€", "oieastasiie")
_OTHER_ONE = str.maketrans("1!|", "lll")  # what else these stand for
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SHORTEST = 4  # letters of a watched word that may have a slip


class Speller:
    """watched: the words that are looked for, lower case; known: plain words, which are never repaired."""

    def __init__(self, watched: Collection[str], known: Collection[str]) -> None:
        self._watched = frozenset(watched)
        self._known = frozenset(known) | self._watched
        self._slips: dict[str, str] = {}
        for word in sorted(self._watched):
            if len(word) >= SHORTEST and word.isalpha():
                for slip in _slips(word):
                    if slip not in self._known:
                        self._slips.setdefault(slip, word)

    def repaired(self, words: Sequence[Word]) -> list[Word]:
        """The words as they are to be read, at their places in the prompt."""
        return [self._repair(word) for word in self._joined(words)]

    def _repair(self, word: Word) -> Word:
        text = folded(word.text)
        if text in self._known or not word.is_word:
            return word
        bare = re.sub(r"[^a-z0-9@$!|€]", "", text)
        signs = bare.strip("!|")
        for candidate in (bare, signs, bare.translate(_OTHER_ONE), signs.translate(_OTHER_ONE)):
            letters = re.sub(r"[^a-z]", "", candidate.translate(_LEET)) if not candidate.isdigit() else ""
            repaired = letters if letters in self._watched else self._slips.get(letters, "")
            # A slip inside a compound ("knife-wielding") is not one.
            is_compound = "-" in word.text and letters == re.sub(r"[^a-z]", "", text)
            if repaired and (letters in self._watched or not is_compound):
                return Word(repaired, word.start, word.stop)
        return word

    def _joined(self, words: Sequence[Word]) -> list[Word]:
        """With single letters that spell a watched word together as one word: "n u d e", "n.u.d.e"."""
        result, i = [], 0
        while i < len(words):
            j = i
            while j < len(words) and len(words[j].text) == 1 and (words[j].is_word or words[j].text in ".-_*~@$!|"):
                j += 1
            letters = "".join(word.text for word in words[i:j] if word.is_word or word.text in "@$!|")
            spelt = folded(letters).translate(_LEET)
            if j - i >= 3 and (spelt in self._watched or spelt in self._slips):
                result.append(Word(spelt, words[i].start, words[j - 1].stop))
                i = j
            else:
                result.append(words[i])
                i += 1
        return result


def _slips(word: str) -> set[str]:
    """What one slip makes of a word: two letters swapped, one doubled, dropped, changed or too many."""
    parts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    swapped = {a + b[1] + b[0] + b[2:] for a, b in parts if len(b) > 1}
    doubled = {a + b[0] + b for a, b in parts if b}
    if len(word) <= SHORTEST:
        return swapped | doubled
    dropped = {a + b[1:] for a, b in parts if b and a}
    changed = {a + letter + b[1:] for a, b in parts if b and a for letter in _ALPHABET} if len(word) > 5 else set()
    inserted = {a + letter + b for a, b in parts if a for letter in _ALPHABET} if len(word) > 5 else set()
    return swapped | doubled | dropped | changed | inserted
