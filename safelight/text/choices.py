"""What an artist can put in the place of a prompt's unsafe words: the rewriter's word, and others from its table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from typing import Any

from safelight.text.clauses import Word, words_of
from safelight.text.english import ING, PAST, PLAIN, SMALL, THIRD, looks_like_person, plural, verb_form
from safelight.text.lexicon import folded
from safelight.text.reader import Reader
from safelight.text.rewrite import DECISION
from safelight.text.safe_prompt import REWRITE, SafePrompt, reader_of
from safelight.text.splicing import Change
from safelight.text.stand_ins import NOUN, VERB, StandIns

OTHERS = 5  # that are offered for a place
USUAL = 16  # of a category and a part of speech, among which they are looked for
THINGS = "things"  # the table's category of what is no I2P category's
ARTICLES = {"a", "an"}
REMEMBERED = 4096  # stand-ins that were read


@dataclass(frozen=True)
class Choice:
    """A place of the prompt, from start to stop, and what can be there instead.

    key: its words as the left side of a line of `stand_ins`. text: what the safe prompt has there, "" where the words
    are left out. others: to choose from, the nearest first. own: whether the artist's line for these words decides.
    """

    start: int
    stop: int
    key: str
    text: str
    others: tuple[str, ...]
    own: bool

    @property
    def kept(self) -> bool:
        """Whether the artist keeps the words as they are."""
        return self.own and folded(self.text) == self.key


class Usual:
    """The stand-ins that the shipped table uses most, by category and part of speech."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        self._irregular = stored["irregular"]
        self._texts: dict[tuple[str, str], list[str]] = {}
        self._categories: dict[str, str] = {}  # of a word, the first that has it
        for category, by_part in stored["table"].items():
            for part, entries in by_part.items():
                counts: Counter[str] = Counter()
                for word, several in entries.items():
                    for form in (word, plural(word)) if part == NOUN else (word,):
                        self._categories.setdefault(form, category)
                    for value in several if isinstance(several, list) else [several]:
                        text = value["before"] if isinstance(value, dict) else value
                        counts[text] += 1
                self._texts[category, part] = [text for text, _ in counts.most_common(USUAL) if text]

    @classmethod
    @cache
    def load(cls) -> Usual:
        return cls(StandIns.stored())

    def like(self, word: str, category: str, part: str) -> list[str]:
        """For a word of this category and part of speech, in the word's form: plural, "-ing", "-ed"."""
        of_word = self._categories.get(word, "")
        texts = next((self._texts[one, part] for one in (category, of_word, THINGS) if (one, part) in self._texts), [])
        return [self._formed(word, text, part) for text in texts]

    def _formed(self, word: str, text: str, part: str) -> str:
        if part == NOUN:
            several = re.search(r"(?:[^su]s|men|children|people)$", word) is not None
            return plural(text) if several and not text.startswith("~") else text.removeprefix("~")
        if part == VERB:
            form = ING if word.endswith("ing") else PAST if word.endswith("ed") else PLAIN
            return verb_form(text, THIRD if form == PLAIN and re.search(r"[^s]s$", word) else form, self._irregular)
        return text


def choices_of(
    made: SafePrompt,
    concepts: str,
    stand_ins: str,
    false_alarms: float,
    knows: Callable[[str], bool] | None = None,
) -> tuple[Choice, ...]:
    """For every place that makes the prompt unsafe, was changed or is kept, in their order; none for a typed safe
    prompt, which nothing of this changes. The other arguments are those of make_safe_prompt."""
    if made.method != REWRITE:
        return ()
    own, table = StandIns.load(stand_ins), StandIns.load()
    words = Reader.load().words(made.prompt)
    result = []
    for start, stop, category in _places(made, words, own):
        tokens = [folded(made.prompt[word.start : word.stop]) for word in words if word.overlaps(start, stop)]
        key = " ".join(tokens)
        text = own.own.get(key, _text_at(made, start, stop))
        fit = (
            other
            for other in dict.fromkeys(_offered(table, tokens, text, category))
            if folded(other) not in (folded(text), key)
            and (knows is None or all(knows(word.text) for word in words_of(other) if word.is_word))
            and _is_harmless(other, concepts, false_alarms)
        )
        result.append(Choice(start, stop, key, text, tuple(islice(fit, OTHERS)), key in own.own))
    return tuple(result)


@lru_cache(REMEMBERED)
def _is_harmless(text: str, concepts: str, false_alarms: float) -> bool:
    reading = reader_of(concepts, false_alarms)(text)
    return reading.risk < DECISION and not reading.triggers


def _kept_places(text: str, own: StandIns) -> list[tuple[int, int]]:
    """Where the words that the artist keeps begin and end."""
    kept = "|".join(re.escape(words) for words in sorted(own.kept_in(text), key=len, reverse=True))
    return [match.span() for match in re.finditer(rf"(?<!\w)(?:{kept})(?!\w)", text)] if kept else []


def _places(made: SafePrompt, words: Sequence[Word], own: StandIns) -> list[tuple[int, int, str]]:
    """The unsafe words with their category, the kept ones, and what else the table or the artist changed. None of them
    overlap."""
    table = StandIns.load()
    changed = [(change, _gone(change, words)) for change in made.changes]
    places = [(*span, "") for span in _kept_places(made.prompt, own)]
    for one in made.reading.triggers:
        # With what was changed along with it: "nazi soldiers", of which one word is unsafe.
        along = [run for change, runs in changed for run in runs if run[0] < one.stop and one.start < run[1]]
        start, stop = min([one.start, *(run[0] for run in along)]), max([one.stop, *(run[1] for run in along)])
        places.append((start, stop, one.category))
    unsafe = [*places]
    for change, runs in changed:
        if any(change.start < stop and start < change.stop for start, stop, _ in unsafe):
            continue
        for start, stop in runs:
            tokens = [folded(made.prompt[word.start : word.stop]) for word in words if word.overlaps(start, stop)]
            if table.of(tokens) or " ".join(tokens) in own.own:
                places.append((start, stop, ""))
    return _apart(places)


def _apart(places: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """In their order, those that overlap as one."""
    result: list[tuple[int, int, str]] = []
    for start, stop, category in sorted(places):
        if result and start < result[-1][1]:
            first, last, before = result.pop()
            start, stop, category = first, max(last, stop), before or category
        result.append((start, stop, category))
    return result


def _gone(change: Change, words: Sequence[Word]) -> list[tuple[int, int]]:
    """Where runs of words begin and end that a change takes away, small words aside."""
    there = {folded(word.text) for word in words_of(change.text)}
    runs: list[tuple[int, int]] = []
    near = False
    for word in words:
        inside = word.is_word and word.overlaps(change.start, change.stop)
        if not inside or word.text.lower() in SMALL or folded(word.text) in there:
            near = False
            continue
        runs.append((runs.pop()[0] if near else word.start, word.stop))
        near = True
    return runs


def _text_at(made: SafePrompt, start: int, stop: int) -> str:
    """What the safe prompt has in a place, without the words around it that a change repeats."""
    changes = [change for change in made.changes if change.start < stop and start < change.stop]
    if not changes:
        return made.prompt[start:stop]
    texts = []
    for change in changes:
        before = made.prompt[change.start : start].split()
        after = made.prompt[stop : change.stop].split()
        text = change.text.split()
        while (
            before
            and text
            and (text[0].lower() == before[0].lower() or {text[0].lower(), before[0].lower()} <= ARTICLES)
        ):
            before.pop(0)
            text.pop(0)
        while after and text and after[-1].lower() == text[-1].lower():
            after.pop()
            text.pop()
        texts.append(" ".join(text).strip(" ,"))
    return " ".join(filter(None, texts))


def _offered(table: StandIns, tokens: Sequence[str], text: str, category: str) -> Iterator[str]:
    """The table's stand-ins for the words, then for those at their end, then what is usual for such words, of the part
    of speech that the safe prompt has there, and people for people alone."""
    found = [(" ".join(tokens), one) for one in table.of(tokens) if one.text]
    if not any(one.part == VERB for token in tokens[:-1] for one in table.of([token])):  # "stabs" of "stabs corpses"
        found += [
            (" ".join(tokens[i:]), one) for i in range(1, len(tokens)) for one in table.of(tokens[i:]) if one.text
        ]
    parts = {one.part for _, one in found if text.lower().endswith((one.text, one.after))} or {
        one.part for _, one in found
    }
    found = [(word, one) for word, one in found if one.part in parts]
    people = {_is_person(table, one.text) for _, one in found}
    yield from (one.text for _, one in found)
    for word, part in dict.fromkeys((word, one.part) for word, one in found):
        for usual in Usual.load().like(word, category, part):
            if part != NOUN or _is_person(table, usual) in people:
                yield usual


def _is_person(table: StandIns, text: str) -> bool:
    last = text.split()[-1]
    return any(one in table.people or looks_like_person(one) for one in (last, last.removesuffix("s")))
