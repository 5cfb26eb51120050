"""The texts that the reader learns from, of the project's own: one a line, what makes a text unsafe in [brackets]."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from safelight.text.clauses import Word, clauses_of, words_of

FOLDER = Path(__file__).with_name("texts")


@dataclass(frozen=True)
class Text:
    """prompt: without brackets. category: "" for a harmless one. spans: places of what was in brackets. group: of the
    file that it stands in."""

    prompt: str
    category: str
    spans: tuple[tuple[int, int], ...]
    group: str

    def is_unsafe(self, word: Word) -> bool:
        """Whether a word of the prompt was in brackets, if only in part."""
        return any(word.overlaps(*span) for span in self.spans)


@dataclass(frozen=True)
class Clause:
    """words, and which of them are unsafe; category: "" where none is."""

    words: list[Word]
    unsafe: list[bool]
    category: str


def parse(line: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A line without its brackets, and where they were."""
    prompt, spans, place = "", [], 0
    for match in re.finditer(r"\[([^\[\]]*)\]", line):
        prompt += line[place : match.start()]
        spans.append((len(prompt), len(prompt) + len(match[1])))
        prompt, place = prompt + match[1], match.end()
    return prompt + line[place:], tuple(spans)


def read(folder: Path = FOLDER) -> list[Text]:
    """All texts, file after file. unsafe.txt and lookalikes.txt have the category first, with a tab behind it."""
    result = []
    for group in ("unsafe", "lookalikes", "negated", "benign", "benign_long"):
        for line in (folder / f"{group}.txt").read_text("utf-8").splitlines():
            category, _, text = line.rpartition("\t")
            prompt, spans = parse(text)
            result.append(Text(prompt, category if group == "unsafe" else "", spans, group))
    return result


def clauses(texts: Sequence[Text]) -> Iterator[Clause]:
    """Every clause of every text."""
    for text in texts:
        for words in clauses_of(text.prompt, words_of(text.prompt)):
            unsafe = [text.is_unsafe(word) for word in words]
            yield Clause(words, unsafe, text.category if any(unsafe) else "")


def named(folder: Path = FOLDER) -> list[Clause]:
    """Short clauses: unsafe things by name, every word of which counts, and harmless phrases without a category."""
    result = []
    for line in (folder / "named.txt").read_text("utf-8").splitlines():
        category, text = line.split("\t")
        words = words_of(text)
        result.append(Clause(words, [bool(category)] * len(words), category))
    return result
