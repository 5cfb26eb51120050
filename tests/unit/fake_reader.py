"""A reader for tests: what is unsafe stands in [brackets]."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from safelight.text.clauses import Word, words_of
from safelight.text.lexicon import folded
from safelight.text.reader import Reading, Trigger


class FakeReader:
    """nearest: the first of the choices."""

    def words(self, prompt: str) -> list[Word]:
        return words_of(prompt)

    def nearest(self, words: str, choices: Sequence[str]) -> str:
        return choices[0]


def parse(line: str) -> tuple[str, set[str]]:
    """A prompt without its brackets, and the words that are unsafe."""
    unsafe = " ".join(re.findall(r"\[([^\[\]]*)\]", line))
    return re.sub(r"\[([^\[\]]*)\]", r"\1", line), {folded(word.text) for word in words_of(unsafe) if word.is_word}


def reading_of(unsafe: set[str], also: str = "", category: str = "violence") -> Callable[[str], Reading]:
    """A verdict by words: runs of the unsafe ones are triggers. also: a word that is unsafe too."""

    def read(text: str) -> Reading:
        triggers: list[Trigger] = []
        near = False
        for word in words_of(text):
            if folded(word.text) not in {*unsafe, also}:
                near = False
                continue
            start = triggers.pop().start if near else word.start
            triggers.append(Trigger(text[start : word.stop], start, word.stop, category, 1.0))
            near = True
        return Reading(min(1.0, 0.5 + 0.1 * len(triggers)) if triggers else 0.0, {}, category, tuple(triggers))

    return read
