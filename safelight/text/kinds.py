"""The artist's own concepts, by name: a thing's own words, and what belongs to a kind (alcohol: beer, wine, ...)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from safelight.text.english import plural
from safelight.text.lexicon import any_of, folded

FILE = Path(__file__).with_name("kinds.json")
_LEADING = re.compile(r"^(?:(?:an?|the|some|any|all|every|kinds? of|sorts? of)\s+)+")


class Kinds:
    """table: kinds by name, each with other `names` of itself and `members`; plurals follow from singulars."""

    def __init__(self, table: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self._members: dict[str, list[str]] = {}
        for kind, entry in table.items():
            for name in {kind, *entry["names"]}:
                for form in (name, plural(name)):
                    self._members.setdefault(form, []).extend([*entry["names"], *entry["members"]])

    @classmethod
    @cache
    def load(cls) -> Kinds:
        return cls(json.loads(FILE.read_text("utf-8")))

    def has(self, thing: str) -> bool:
        return _own_words(thing) in self._members

    def words(self, thing: str) -> list[str]:
        """What a text may call this thing, in the singular; the thing's own words first."""
        own = _own_words(thing)
        return list(dict.fromkeys([own, *self._members.get(own, [])]))

    @cache  # noqa: B019, one object that lives as long as the process
    def pattern(self, thing: str) -> re.Pattern[str]:
        """Finds the thing in a folded text, in the singular and in the plural."""
        words = self.words(thing)
        return any_of([*words, *(plural(word) for word in words)])


def _own_words(thing: str) -> str:
    """Without what only leads to them: "any kind of weapon"."""
    return _LEADING.sub("", " ".join(folded(thing).split())).removesuffix(" of any kind")
