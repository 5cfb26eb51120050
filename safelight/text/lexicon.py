"""A list of unsafe words in several languages, and of harmless phrases that have such a word in them.

It is a vote beside the reader's model in English, and all there is to read other languages by.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("lexicon.json")
ENGLISH = "en"
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


@dataclass(frozen=True)
class Hit:
    """An entry that a text has, from start to stop."""

    start: int
    stop: int
    category: str
    language: str


class Lexicon:
    """entries: words and phrases by language and category; a * at the end stands for any ending. exceptions: harmless
    phrases in English."""

    def __init__(self, entries: Mapping[str, Mapping[str, Sequence[str]]], exceptions: Sequence[str]) -> None:
        self._patterns = [
            (language, category, any_of(phrases))
            for language, by_category in entries.items()
            for category, phrases in by_category.items()
            if phrases
        ]
        self._exceptions = any_of(exceptions) if exceptions else None

    @classmethod
    @cache
    def load(cls, file: Path = FILE) -> Lexicon:
        stored = json.loads(file.read_text("utf-8"))
        return cls(stored["entries"], stored["exceptions"])

    def hits(self, text: str) -> list[Hit]:
        """In the order of their places. English entries inside a harmless phrase don't count."""
        plain, spared = folded(text), self.spared(text)
        result = [
            Hit(*match.span(), category, language)
            for language, category, pattern in self._patterns
            for match in pattern.finditer(plain)
            if language != ENGLISH or not any(a < match.end() and match.start() < b for a, b in spared)
        ]
        return sorted(result, key=lambda hit: (hit.start, hit.stop))

    def spared(self, text: str) -> list[tuple[int, int]]:
        """Where a text has harmless phrases."""
        return [match.span() for match in self._exceptions.finditer(folded(text))] if self._exceptions else []


def folded(text: str) -> str:
    """Lower case and without accents on Latin letters, sign by sign, so that places stay."""
    return "".join(_fold(sign) for sign in text)


def _fold(sign: str) -> str:
    if sign.isascii():
        return sign.lower()
    base = unicodedata.normalize("NFD", sign)[0]
    return base.lower() if base.isascii() else sign.lower() if len(sign.lower()) == 1 else sign


def any_of(phrases: Sequence[str]) -> re.Pattern[str]:
    """Finds any of the phrases in a folded text as whole words, the longest first; a * at the end: any ending."""
    parts = []
    for phrase in sorted({folded(phrase) for phrase in phrases}, key=len, reverse=True):
        stem = phrase.removesuffix("*")
        text = re.sub(r"(?:\\?[\s-])+", r"[\\s-]+", re.escape(stem))
        edge = r"\w*" if phrase.endswith("*") else r"(?!\w)"
        parts.append(text if _UNSPACED.search(stem) else rf"(?<!\w){text}{edge}")
    return re.compile("|".join(parts))
