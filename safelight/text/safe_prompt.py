"""A prompt and its safe counterpart, both as text, and how unsafe the prompt is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from safelight.text.concepts import categories_of, is_term, split_concepts
from safelight.text.reader import FALSE_ALARMS, Reader, Reading
from safelight.text.rewrite import DECISION, Change, Rewriter
from safelight.text.stand_ins import StandIns

AUTO, TYPED, REWRITE, PROJECT, SUBTRACT = METHODS = ("auto", "typed", "rewrite", "project", "subtract")


class NoSafePrompt(ValueError):
    """The inputs are right, but the prompt can't be rewritten: it can't be read, or is unsafe as a whole."""


@dataclass(frozen=True)
class Verdict:
    """What the artist is told of a prompt and of how its safe counterpart was made.

    text: the safe counterpart as text, None where there is none. changes: what a rewrite put into it.
    """

    risk: float
    method: str
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text: str | None = None
    changes: tuple[str, ...] = ()

    def as_json(self) -> str:
        """For the page."""
        verdict = {
            "risk": round(self.risk, 4),
            "method": self.method,
            "words": list(self.words),
            "notes": list(self.notes),
        }
        if self.text is not None:
            verdict |= {"safe_prompt": self.text, "changes": list(self.changes)}
        return json.dumps(verdict, ensure_ascii=False)


@dataclass(frozen=True)
class SafePrompt:
    """text: the safe prompt. method: how it was made. reading: of the prompt. changes: what a rewrite put in its place.

    notes: for the artist.
    """

    prompt: str
    text: str
    method: str
    reading: Reading
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The trigger words, as the prompt has them."""
        return tuple(dict.fromkeys(trigger.text for trigger in self.reading.triggers))

    @property
    def harmless(self) -> bool:
        """Whether the prompt is its own safe counterpart, since nothing unsafe was found in it."""
        return self.method == REWRITE and self.text == self.prompt

    @property
    def verdict(self) -> Verdict:
        changes = tuple(change.text for change in self.changes if change.text)
        return Verdict(self.reading.risk, self.method, self.words, self.notes, self.text, changes)


def reader_of(concepts: str, false_alarms: float = FALSE_ALARMS) -> Callable[[str], Reading]:
    """Reads texts for these concepts: the I2P categories that they belong to, and the things that are none of those'
    terms. Raises ValueError, naming the input, for an empty list."""
    if not 0.0 < false_alarms < 1.0:
        raise ValueError(
            f"false_alarms: expected a share between 0 and 1, got {false_alarms}. Give one, such as {FALSE_ALARMS}."
        )
    phrases = split_concepts(concepts)
    if not phrases:
        raise ValueError(
            "concepts: expected what counts as unsafe, got an empty list. Name it, separated by commas, or link "
            "Safelight Concepts."
        )
    categories = sorted({name for phrase in phrases for name in categories_of(phrase)})
    things = [phrase for phrase in phrases if not is_term(phrase)]
    return lambda text: Reader.load().read(text, categories, things, false_alarms)


def make_safe_prompt(
    prompt: str,
    typed: str,
    concepts: str,
    stand_ins: str = "",
    false_alarms: float = FALSE_ALARMS,
    knows: Callable[[str], bool] | None = None,
) -> SafePrompt:
    """The typed safe prompt where there is one, else the prompt rewritten.

    stand_ins: the artist's own, see StandIns. knows: whether the text encoder knows a word, None where it reads any.
    Raises ValueError, naming the input: NoSafePrompt where the prompt can't be rewritten.
    """
    table = StandIns.load(stand_ins)
    read_all = reader_of(concepts, false_alarms)

    def read(text: str) -> Reading:
        """The words that the artist keeps count as harmless."""
        return read_all(table.without_kept(text))

    reading = read(prompt)
    if typed.strip():
        return SafePrompt(prompt, typed, TYPED, reading, (), _typed_notes(prompt, typed, reading, read))
    if reading.unread:
        raise NoSafePrompt(
            f"prompt: expected English, got a text that can't be read: {reading.unread}. Write a safe_prompt, in any "
            "language: what to show instead."
        )
    rewrite = Rewriter(Reader.load(), table, knows).rewrite(prompt, read, reading)
    if rewrite.text == prompt and reading.risk >= DECISION:
        raise NoSafePrompt(
            f"prompt: expected words that can be replaced, got a text that reads as unsafe as a whole (risk "
            f"{reading.risk:.2f}, {reading.category}). Write a safe_prompt: what to show instead."
        )
    notes = list(rewrite.notes)
    if not rewrite.changes:
        notes = ["Nothing unsafe was found in the prompt: the safe prompt is the prompt."]
    if kept := table.kept_in(prompt):
        notes.append(f"stand_ins: you keep {', '.join(kept)}, so that counts as harmless.")
    return SafePrompt(prompt, rewrite.text, REWRITE, reading, rewrite.changes, tuple(notes))


def _typed_notes(prompt: str, typed: str, before: Reading, read: Callable[[str], Reading]) -> tuple[str, ...]:
    notes = [f"risk is 1: {before.unread}."] if before.unread else []
    if typed.split() == prompt.split():
        notes.append("safe_prompt is the prompt itself: safe would guard nothing.")
    after = read(typed)
    if not after.unread and after.risk >= DECISION:
        words = ", ".join(dict.fromkeys(trigger.text for trigger in after.triggers)) or after.category
        notes.append(f"safe_prompt reads as unsafe itself ({words}).")
    return tuple(notes)
