"""Leaving words out of an English text so that a sentence stays: what goes with them, and what joins the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from safelight.text.clauses import Word
from safelight.text.english import (
    AIMS,
    BEING,
    CONJUNCTIONS,
    DETERMINERS,
    DOING,
    EVENTS,
    HOLDING,
    JOINING,
    LEADING,
    OPENING,
    PARTICLES,
    PREPOSITIONS,
    PRONOUNS,
    SMALL,
    SUBJECTS,
    TAKING,
    THINGS,
    looks_like_adjective,
    looks_like_person,
)
from safelight.text.lexicon import folded
from safelight.text.markup import SEPARATORS
from safelight.text.stand_ins import ADJECTIVE, NOUN, VERB, StandIns

ENDS = frozenset(",;:.!?|{}–—\n")


class Sentence:
    """The words of a prompt, and what they are to each other."""

    def __init__(self, prompt: str, words: Sequence[Word], table: StandIns) -> None:
        self.texts = [folded(word.text) for word in words]
        self._written = [prompt[word.start : word.stop] for word in words]
        self._table = table
        self._parted = [
            i == 0
            or self._is_end(words[i - 1])
            or self._is_end(word)
            or bool(re.search(rf"\n|\b{SEPARATORS}\b", prompt[words[i - 1].stop : word.start]))
            for i, word in enumerate(words)
        ]

    @staticmethod
    def _is_end(word: Word) -> bool:
        return word.text in ENDS

    def clause(self, index: int) -> tuple[int, int]:
        """The words around one, up to commas, ends of lines and the like."""
        start, stop = index, index + 1
        while start and not self._parted[start]:
            start -= 1
        while stop < len(self.texts) and not self._parted[stop]:
            stop += 1
        return start, stop

    def before(self, index: int) -> str:
        """The word before one, "" where it begins its clause."""
        return self.texts[index - 1] if index and not self._parted[index] else ""

    def after(self, stop: int) -> str:
        """The word that follows, "" at the end of a clause."""
        return self.texts[stop] if stop < len(self.texts) and not self._parted[stop] else ""

    def is_part(self, text: str, part: str) -> bool:
        """Whether the table has a word as this part of speech."""
        return any(one.part == part for one in self._table.of([text]))

    def is_adjective(self, text: str) -> bool:
        return text in self._table.adjectives or self.is_part(text, ADJECTIVE) or looks_like_adjective(text)

    def is_verb(self, text: str) -> bool:
        """Whether it is likely to be a verb with a subject before it."""
        if text in BEING | DOING:
            return True
        if self.is_part(text, VERB):
            return True
        return len(text) > 5 and text.endswith("ing") and text not in THINGS and not self.is_adjective(text)

    def is_figure(self, text: str) -> bool:
        return text in self._table.people

    def is_name(self, index: int) -> bool:
        """Whether a word begins with a capital."""
        return index < len(self._written) and self._written[index][0].isupper()

    def is_replaced(self, index: int) -> bool:
        """Whether the table has a word."""
        return bool(self._table.of([self.texts[index]]))

    def harmless_noun(self, text: str) -> str:
        """The table's noun for a word, else the word."""
        return next((one.text for one in self._table.of([folded(text)]) if one.part == NOUN), text)

    def written(self, start: int, stop: int) -> str:
        """Words as the prompt has them, a space between."""
        return " ".join(self._written[start:stop])

    def is_content(self, text: str) -> bool:
        return bool(text) and text[0].isalnum() and text not in SMALL

    def names_a_thing(self, start: int, stop: int) -> bool:
        """Whether words end in a noun, as far as one can tell."""
        last, before = self.texts[stop - 1], self.before(start)
        if self.is_part(last, NOUN) or last in self._table.harmless:
            return True
        if self.is_adjective(last) or last in SMALL or last.endswith("ly"):
            return False
        return before in DETERMINERS or stop - start > 1 or not self.is_verb(last)

    def names_a_person(self, index: int) -> bool:
        text = self.texts[index]
        return looks_like_person(text) and not self.is_adjective(text)

    def describes(self, start: int, stop: int) -> bool:
        """Whether words are an adjective of what follows."""
        last, following = self.texts[stop - 1], self.after(stop)
        if self.before(start) in DETERMINERS and last.endswith(("ing", "ed")) and last not in THINGS:
            return self.is_content(following)  # "a smuggling run"
        if not self.is_content(following) or (self.is_verb(following) and not self.is_adjective(last)):
            return False
        if self.names_a_thing(start, stop) and following.endswith("s") and self.after(stop + 1) in DETERMINERS:
            return False  # "a hat with a cross leads a parade"
        return not (self.is_verb(self.texts[start]) and self.before(start) not in DETERMINERS | {""})

    def joint(self, stop: int) -> int | None:
        """The word that leads to a figure before `stop` whose verb has gone: "where" of "a room where a man"."""
        for i in range(stop - 1, self.clause(stop - 1)[0], -1):
            if self.is_verb(self.texts[i]):
                return None
            if self.texts[i] in JOINING:
                return i
        return None

    def opener(self, stop: int) -> int | None:
        """The word that opens a clause about a figure or thing before it whose verb has gone: "whose" of "a man whose
        face"."""
        for i in range(stop - 1, self.clause(stop - 1)[0], -1):
            if self.is_verb(self.texts[i]) or self.texts[i] in JOINING:
                return None
            if self.texts[i] in OPENING:
                return i
        return None

    def without(self, start: int, stop: int) -> tuple[int, int, str]:
        """The range of words to leave out so that words start to stop can go, and the text that replaces it."""
        while self.before(start) in self._table.left and self.before(start) not in SMALL:
            start -= 1
        while self.after(stop).endswith("ly") and self.after(stop) in self._table.left:
            stop += 1
        first, last, before, following = self.texts[start], self.texts[stop - 1], self.before(start), self.after(stop)
        if not before and not following:
            return start, stop, ""
        acts = bool(before) and before not in DETERMINERS and self.is_verb(first) and not self.is_adjective(before)
        if not following:
            return self._back(start, stop)
        if self.describes(start, stop):
            return start, stop, ""
        if acts or last in PREPOSITIONS - {"out", "up", "down", "off"} and self.is_verb(first):
            return self._without_act(start, stop)
        if not before:
            return self._without_head(start, stop)
        if self.names_a_thing(start, stop) and self.is_verb(following) and self._opens(start):
            return start, stop, self._figure(stop)
        start, stop, text = self._back(start, stop)
        return (start, stop, text) if text or self.before(start) else self._without_head(start, stop)

    def _without_act(self, start: int, stop: int) -> tuple[int, int, str]:
        """A verb that stands between its subject and something: the two beside each other."""
        following = self.after(stop)
        if following in ("and", "or") and self.is_content(self.after(stop + 1)):
            return start, stop + 1, ""  # "make him kneel and beg"
        if following in PARTICLES and self.after(stop + 1) not in DETERMINERS:
            stop, following = stop + 1, self.after(stop + 1)  # "was blown off"
        aimed = following in AIMS - {"as"} and self.after(stop + 1) not in EVENTS | PREPOSITIONS | {""}
        stop += aimed
        while self.before(start) in BEING | SUBJECTS | {"to", "about", "not", "and"} and self.before(start - 1):
            start -= 1
        beside = aimed or following in DETERMINERS | PRONOUNS or self.texts[stop - 1] in PREPOSITIONS
        beside = beside or (self.is_content(following) and not self.is_verb(following))
        return start, stop, "beside" if beside and self.before(start) else ""

    def _without_head(self, start: int, stop: int) -> tuple[int, int, str]:
        """What begins a clause, and what can't stand there without it."""
        if self.names_a_person(stop - 1) and not self.is_verb(self.texts[start]):
            return start, stop, self._article(start, self._figure(stop))
        if self.after(stop) in BEING | DOING or (
            self.is_verb(self.after(stop)) and self.names_a_thing(start, stop) and not self.describes(start, stop)
        ):
            return start, stop, self._article(start, self._figure(stop))
        while self.after(stop) in PREPOSITIONS | CONJUNCTIONS | SUBJECTS | {"'s"}:
            stop += 1
        return start, stop, ""

    def _article(self, start: int, figure: str) -> str:
        return f"{self.texts[start].replace('an', 'a')} {figure}" if self.texts[start] in DETERMINERS else figure

    def _figure(self, stop: int) -> str:
        last = self.texts[stop - 1]
        return "people" if last.endswith("s") and not last.endswith("ss") else "person"

    def _back(self, start: int, stop: int) -> tuple[int, int, str]:
        """With what leads to the words and means nothing without them: article, preposition, verb."""
        thing = self.names_a_thing(start, stop) and not self.is_verb(self.texts[start])
        determined = self.texts[start] in DETERMINERS
        while before := self.before(start):
            if before in DETERMINERS:
                determined = thing = True
            elif thing and not determined and self.is_adjective(before) and before not in LEADING:
                pass
            elif before in PARTICLES and self.texts[start] in PREPOSITIONS:
                break  # "rolled up over"
            elif before in PREPOSITIONS | CONJUNCTIONS | BEING | SUBJECTS | LEADING or self._holds(start - 1):
                determined = thing = False
            elif determined and self._is_led_to(start - 1):
                determined = thing = False  # "painting a", "finds a"
            elif before.endswith(("'s", "’s")):
                return start - 1, stop, self._written[start - 1][:-2]
            else:
                break
            start -= 1
        return start, stop, ""

    def _is_led_to(self, index: int) -> bool:
        """Whether a word is a verb, given that what follows it begins with an article."""
        text, before = self.texts[index], self.before(index)
        if before in DETERMINERS or self.is_adjective(before):
            return False  # "in the lower row an eagle"
        return self.is_verb(text) or text in TAKING or text.endswith(("ing", "ed", "s")) and "'" not in text

    def _opens(self, start: int) -> bool:
        """Whether an article stands before words, and nothing before it."""
        return self.before(start) in DETERMINERS and not self.before(start - 1)

    def _holds(self, index: int) -> bool:
        """Whether a word says how something is, or how much of it: "brutally", "a pool of"."""
        return self.texts[index] in self._table.left or (self.texts[index] in HOLDING and self.after(index + 1) == "of")
