"""A prompt in words and clauses, with their places in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from safelight.text.markup import plain_text

LONGEST, SHORTEST = 16, 4  # words of a clause
_WORD = re.compile(r"[^\W_]+(?:['’.&/+*$@!-]+[^\W_]+)*|[^\w\s]", re.UNICODE)
_ENDS = frozenset(",.;:!?|\n")
_JOINTS = frozenset(
    ("and", "with", "while", "in", "on", "at", "near", "by", "over", "that", "who", "which", "as", "from")
)


@dataclass(frozen=True)
class Word:
    """A word or a sign. text: as it is read; start, stop: its place in the prompt."""

    text: str
    start: int
    stop: int

    @property
    def is_word(self) -> bool:
        return any(sign.isalnum() for sign in self.text)

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether it lies in this stretch of the prompt, if only in part."""
        return start < self.stop and self.start < stop


def words_of(prompt: str) -> list[Word]:
    """The words and signs of a prompt, markup left out."""
    plain = plain_text(prompt)
    return [Word(match[0], match.start(), match.end()) for match in _WORD.finditer(plain)]


def clauses_of(prompt: str, words: Sequence[Word]) -> list[list[Word]]:
    """Groups of about 4 to 16 words, parted where the text parts them.

    Short ones beside each other, as tags are, come together; a long one is parted at a word that begins a phrase.
    """
    result: list[list[Word]] = []
    for part in _parts(prompt, words):
        count = sum(word.is_word for word in part)
        before = sum(word.is_word for word in result[-1]) if result else LONGEST
        if result and (count < SHORTEST or before < SHORTEST) and count + before <= LONGEST:
            result[-1] += part
        else:
            result.append(part)
    return result


def _parts(prompt: str, words: Sequence[Word]) -> Iterator[list[Word]]:
    part: list[Word] = []
    for i, word in enumerate(words):
        part.append(word)
        gap = prompt[word.stop : words[i + 1].start] if i + 1 < len(words) else "\n"
        if word.text in _ENDS or "\n" in gap:
            yield from _shorter(part)
            part = []


def _shorter(part: list[Word]) -> Iterator[list[Word]]:
    while len(part) > LONGEST:
        at = max((i for i in range(SHORTEST, LONGEST) if part[i].text.lower() in _JOINTS), default=LONGEST)
        yield part[:at]
        part = part[at:]
    if any(word.is_word for word in part):
        yield part
