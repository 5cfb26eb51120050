"""Rewriting: a safe prompt as text, the unsafe words replaced by harmless ones or left out.

For every place, in this order: a stand-in from the table; of a longer place the figure that it begins with; the words
left out; their clause left out. After each the text is read again, until it is harmless. Where nothing would be left to
draw, the harmless noun of the nearest meaning takes the place. The artist's own stand-ins come first, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from safelight.text.candidates import CLAUSE, NEAREST, Candidates, Edit, Place
from safelight.text.clauses import Word, words_of
from safelight.text.english import DETERMINERS, SMALL
from safelight.text.lexicon import ENGLISH, Lexicon, folded
from safelight.text.markup import plain_text
from safelight.text.reader import CATEGORIES, Reader, Reading
from safelight.text.splicing import Change, applied, origin
from safelight.text.stand_ins import StandIns

DECISION = 0.5
ROUNDS = 8  # of reading again


@dataclass(frozen=True)
class Rewrite:
    """text: the safe prompt. before, after: what the reader says of prompt and text. notes: for the artist."""

    prompt: str
    text: str
    changes: tuple[Change, ...]
    before: Reading
    after: Reading
    notes: tuple[str, ...] = ()


class Rewriter:
    """knows: whether the artist's text encoder knows a word, None for one that reads any text. lexicon: its harmless
    phrases are left as they are."""

    def __init__(
        self,
        reader: Reader,
        stand_ins: StandIns,
        knows: Callable[[str], bool] | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        self._reader, self._table, self._knows = reader, stand_ins, knows
        self._lexicon = lexicon or Lexicon.load()
        self._nouns = [noun for noun in stand_ins.nouns() if knows is None or knows(noun)]

    def rewrite(self, prompt: str, read: Callable[[str], Reading], before: Reading | None = None) -> Rewrite:
        """read: the reader's verdict on a text, by the concepts and at the rate of false alarms that hold.

        before: its verdict on the prompt, where that is known.
        """
        before = before or read(prompt)
        words = [self._spelt(prompt, word) for word in self._reader.words(prompt)]
        own, fixed = self._own(prompt, words, before)
        candidates = Candidates(prompt, words, self._table, fixed, self._knows, self._nearest)
        by_own = best = self._attempt(prompt, candidates, [], own, before, read)
        if own and not _has_words(by_own.text):
            own = [Edit(edit.start, edit.stop, edit.text or self._nearest(prompt)) for edit in own[:1]] + own[1:]
            by_own = best = self._attempt(prompt, candidates, [], own, before, read)
        if best.after.unread or (best.after.risk < DECISION and _has_words(best.text)):
            return best
        free = {i for i, word in enumerate(words) if word.is_word} - fixed
        free -= {i for edit in own for i in range(edit.start, edit.stop)}
        places = self._places(prompt, words, free, best)
        for _ in range(ROUNDS if places else 0):
            attempt = self._attempt(prompt, candidates, places, own, before, read)
            if _has_words(attempt.text) and (attempt.after.risk < best.after.risk or not _has_words(best.text)):
                best = attempt
            if best is attempt and attempt.after.risk < DECISION:
                return attempt
            if not self._advance(words, places, free, attempt):
                break
        note = "The rewritten prompt still reads as unsafe. Look at it, or write a safe_prompt."
        if best.after.risk >= by_own.after.risk:
            best = by_own
            note = "No word stands out, so nothing was changed. Write a safe_prompt."
        return replace(best, notes=(note,))

    def _spelt(self, prompt: str, word: Word) -> Word:
        """A word as the prompt has it where the table knows that, else as the reader repaired it."""
        written = folded(prompt[word.start : word.stop])
        return replace(word, text=written) if self._table.of([written]) else word

    @staticmethod
    def _attempt(
        prompt: str,
        candidates: Candidates,
        places: Sequence[Place],
        own: Sequence[Edit],
        before: Reading,
        read: Callable[[str], Reading],
    ) -> Rewrite:
        changes = candidates.draft(places, own).changes() if places or own else []
        text = applied(prompt, changes)
        return Rewrite(prompt, text, tuple(changes), before, before if text == prompt else read(text))

    def _own(self, prompt: str, words: Sequence[Word], before: Reading) -> tuple[list[Edit], set[int]]:
        """The artist's stand-ins wherever their words occur, and the words that nothing may change: those of harmless
        phrases that are not among the artist's concepts."""
        edits: list[Edit] = []
        things = [one for one in before.triggers if one.category not in CATEGORIES]
        fixed = {
            i
            for span in self._lexicon.spared(plain_text(prompt))
            for i, word in enumerate(words)
            if word.overlaps(*span) and not any(word.overlaps(one.start, one.stop) for one in things)
        }
        if not self._table.own:
            return edits, fixed
        texts = [folded(prompt[word.start : word.stop]) for word in words]
        longest = max(len(word.split()) for word in self._table.own)
        i = 0
        while i < len(words):
            for stop in range(min(len(words), i + longest), i, -1):
                phrase = " ".join(texts[i:stop])
                text = self._table.own.get(phrase)
                if text is not None:
                    fixed -= set(range(i, stop))
                    if folded(text) == phrase:
                        fixed |= set(range(i, stop))
                    else:
                        edits.append(Edit(i, stop, text))
                    i = stop - 1
                    break
            i += 1
        return edits, fixed

    def _nearest(self, words: str) -> str:
        return self._reader.nearest(words, self._nouns) if self._nouns else ""

    def _places(self, prompt: str, words: Sequence[Word], free: Collection[int], first: Rewrite) -> list[Place]:
        """Runs of trigger words, those parted by a small word alone together; else what the lexicon knows."""
        spans = [(trigger.start, trigger.stop) for trigger in first.before.triggers]
        spans += [
            (origin(first.changes, trigger.start), origin(first.changes, trigger.stop))
            for trigger in first.after.triggers
        ]
        if not spans:
            hits = self._lexicon.hits(plain_text(prompt))
            spans = [(hit.start, hit.stop) for hit in hits if hit.language == ENGLISH]
        return _runs(words, free, spans)

    def _advance(self, words: Sequence[Word], places: list[Place], free: Collection[int], last: Rewrite) -> bool:
        """The next candidate where the text is still unsafe, or new places; False where there is nothing to try."""
        if not _has_words(last.text):
            moved = [place for place in places if place.candidate != NEAREST][:1]
            for place in moved:
                place.candidate = NEAREST
            return bool(moved)
        unsafe = [(origin(last.changes, t.start), origin(last.changes, t.stop - 1) + 1) for t in last.after.triggers]
        touched = [
            place
            for place in places
            if any(words[place.start].start < stop and start < words[place.stop - 1].stop for start, stop in unsafe)
        ]
        moved = [place for place in touched if place.candidate < CLAUSE]
        for place in moved:
            place.candidate += 1
        taken = {i for place in places for i in range(place.start, place.stop)}
        new = _runs(words, {*free} - taken, unsafe)
        places += new
        if not moved and not new:
            moved = [place for place in places if place.candidate < CLAUSE]
            for place in moved:
                place.candidate += 1
        return bool(moved or new)


def _runs(words: Sequence[Word], free: Collection[int], spans: Sequence[tuple[int, int]]) -> list[Place]:
    """Runs of words that lie in spans of the prompt, those parted by a small word alone together."""
    places: list[Place] = []
    for i, word in enumerate(words):
        if i not in free or not any(word.overlaps(*span) for span in spans):
            continue
        between = range(places[-1].stop, i) if places else range(0)
        joined = (
            words[j].text == "-" or (j in free and words[j].text.lower() in DETERMINERS | {"of"}) for j in between
        )
        if places and all(joined):
            places[-1].stop = i + 1
        else:
            places.append(Place(i, i + 1))
    return places


def _has_words(text: str) -> bool:
    """Whether there is something to draw: a word that is more than an article or a preposition."""
    return any(word.is_word and word.text.lower() not in SMALL for word in words_of(plain_text(text)))
