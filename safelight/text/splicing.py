"""Changing words of a prompt, and nothing else of it: every other byte stays where it is.

What only makes sense with the words goes with them: the signs of a weight around nothing, one of two commas, a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from safelight.text.clauses import Word
from safelight.text.english import article
from safelight.text.markup import SEPARATORS, plain_text

_OPEN, _CLOSE = "([{", ")]}"
_SPACES = " \t_"  # an underscore parts the words of a tag
_STRONG, _WEAK = ".!?", ",;"
_EDGES = frozenset(("", "\n", *_OPEN, "|"))
STAYS, GONE, REPLACED = range(3)
_REFERENCE = re.compile(r"embedding:|<|__")
_WEIGHT = re.compile(r":\s*[-+]?[\d.]+\s*[)\]]")
_MARK = re.compile(rf"{SEPARATORS}$")


@dataclass(frozen=True)
class Change:
    """text: what takes the place of `words`, which the prompt has from start to stop; "" where they are left out."""

    start: int
    stop: int
    words: str
    text: str


class Draft:
    """A prompt whose words are being changed. texts: what stands for each word, "" for one that is left out."""

    def __init__(self, prompt: str, words: Sequence[Word]) -> None:
        self._prompt, self._words = prompt, words
        self.texts = [prompt[word.start : word.stop] for word in words]
        self._original = tuple(self.texts)
        self._spanned: dict[int, int] = {}  # where the words end that a text stands for
        self._bare: set[int] = set()  # words that have no article: plurals, and what can't be counted

    def replace(self, start: int, stop: int, text: str, bare: bool = False) -> None:
        """Words start to stop by a text, "" to leave them out. bare: it has no article."""
        self.texts[start:stop] = [self._cased(start, stop, text), *[""] * (stop - start - 1)]
        self._spanned[start] = stop
        if bare:
            self._bare.add(start)

    def is_changed(self, index: int) -> bool:
        return self.texts[index] != self._original[index]

    def changes(self) -> list[Change]:
        """What the prompt's changes come to, in the order of their places."""
        self._mend_articles()
        self._mend_capitals()
        marks, put = self._marked()
        self._drop_empty(marks)
        for start, stop in list(_runs(mark == GONE for mark in marks)):
            self._close_gap(marks, start, stop)
        return [self._change(marks, put, start, stop) for start, stop in self._joined(marks)]

    def _cased(self, start: int, stop: int, text: str) -> str:
        """With the capitals of what it stands for, and with underscores where a tag has them."""
        was = self._prompt[self._words[start].start : self._words[stop - 1].stop]
        if len(was) > 1 and was.isupper() and len(re.sub(r"\W", "", was)) > 3:
            text = text.upper()
        elif " " in was and was.split()[-1].islower() and not self._begins(start):
            pass  # a name that leads a noun: "Hitler salute"
        elif was[:1].isupper() and (was[1:2].islower() or not was[1:2].isalpha() or self._begins(start)):
            text = text[:1].upper() + text[1:]
        first, last = self._words[start].start, self._words[stop - 1].stop
        return text.replace(" ", "_") if "_" in self._prompt[max(0, first - 1) : last + 1] else text

    def _mend_articles(self) -> None:
        for i, was in enumerate(self._original):
            if was.lower() not in ("a", "an") or self.is_changed(i):
                continue
            j = next((j for j in range(i + 1, len(self.texts)) if self.texts[j]), None)
            if j is None or (j == i + 1 and not self.is_changed(j)):
                continue
            following = re.match(r"[^\W_]+", self.texts[j])
            wanted = article(following[0]) if following and j not in self._bare else ""
            if wanted != was.lower():
                self.texts[i] = wanted.capitalize() if wanted and was[0].isupper() else wanted

    def _mend_capitals(self) -> None:
        """A sentence whose first word has gone still begins with a capital."""
        for i, was in enumerate(self._original):
            if self.texts[i] or not was[0].isupper() or (len(was) > 1 and was.isupper()) or not self._begins(i):
                continue
            j = next((j for j in range(i + 1, len(self.texts)) if self.texts[j]), None)
            if j is not None and self.texts[j][0].islower() and self._original[j] not in (",", "|"):
                between = self._prompt[self._words[i].stop : self._words[j].start]
                if "\n" not in between:
                    self.texts[j] = self.texts[j][0].upper() + self.texts[j][1:]

    def _begins(self, index: int) -> bool:
        before = self._prompt[: self._words[index].start].rstrip(" ([{\"'“‘")
        return not before or before[-1] in ".!?\n"

    def _marked(self) -> tuple[list[int], dict[int, str]]:
        """Which signs of the prompt stay, go or are replaced, and what is put where."""
        marks, put = [STAYS] * len(self._prompt), {}
        for i, word in enumerate(self._words):
            if self.is_changed(i):
                marks[word.start : word.stop] = [REPLACED if self.texts[i] else GONE] * (word.stop - word.start)
                if self.texts[i]:
                    put[word.start] = self.texts[i]
        for start, stop in self._spanned.items():
            if self.texts[start]:
                first, last = self._words[start].start, self._words[stop - 1].stop
                between = (i for i in range(first, last) if self._prompt[i] in " \t_" or marks[i] == GONE)
                if not set(self._prompt[first:last]) & set("()[]{}<>|:\n"):
                    for i in between:
                        marks[i] = REPLACED
        return marks, put

    def _drop_empty(self, marks: list[int]) -> None:
        """Signs of a weight, a choice or a quotation around nothing that is left."""
        plain = plain_text(self._prompt)
        for start, stop in self._groups():
            inside = range(start + 1, stop - 1)
            if not any(marks[i] == GONE for i in inside) or _REFERENCE.search(self._prompt[start:stop]):
                continue
            if all(marks[i] == GONE or plain[i] in " ,\t" and marks[i] == STAYS for i in inside):
                start -= start > 0 and self._prompt[start - 1] == "\\"
                marks[start:stop] = [GONE] * (stop - start)

    def _groups(self) -> Iterator[tuple[int, int]]:
        """Pairs of brackets, and of quotation marks that stand close around words, the inner ones first."""
        opened: list[int] = []
        for i, sign in enumerate(self._prompt):
            if sign in _OPEN:
                opened.append(i)
            elif sign in _CLOSE and opened and self._prompt[opened[-1]] == _OPEN[_CLOSE.index(sign)]:
                yield opened.pop(), i + 1
        for match in re.finditer(r"\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)'[^'\n]*'(?!\w)", self._prompt):
            yield match.span()

    def _close_gap(self, marks: list[int], start: int, stop: int) -> None:
        """The commas and spaces around something that is left out."""
        prompt = self._prompt
        while True:
            left, right = self._reach(marks, start, stop)
            before, after = prompt[left - 1 : left], prompt[right : right + 1]
            if before and marks[left - 1] == REPLACED:
                before = "x"
            if after and marks[right] == REPLACED:
                after = "x"
            if _WEIGHT.match(prompt, right):
                after = ")"
            begins = not before or before in _EDGES or before in _STRONG or bool(_MARK.search(prompt[:left]))
            ends = not after or after in "\n|" or after in _CLOSE
            if before == ":" and after and after in _WEAK:
                start = left - 1
            elif self._is_left_over(before, after, begins):
                stop = right + 1
            elif before in (*_WEAK, ":") and (ends or after in tuple(_STRONG)) or before == "|" and after == "}":
                start = left - 1
            else:
                break
            marks[start:stop] = [GONE] * (stop - start)
        if not before or before in _EDGES:
            stop = right
        elif ends or after in (*_WEAK, *_STRONG, ":"):
            start = left
        elif left < start:
            stop = right
        marks[start:stop] = [GONE] * (stop - start)

    @staticmethod
    def _is_left_over(before: str, after: str, begins: bool) -> bool:
        """Whether the sign behind a gap has nothing to part any more."""
        if after == "|":
            return before in ("{", "|")
        if after in (*_WEAK, ":"):
            return begins or before in (*_WEAK, ":")
        return after in tuple(_STRONG) and begins and before not in ("(", "[")

    def _reach(self, marks: Sequence[int], start: int, stop: int) -> tuple[int, int]:
        """With the spaces, and what else goes, on both sides."""
        prompt = self._prompt
        while start and (marks[start - 1] == GONE or (marks[start - 1] == STAYS and prompt[start - 1] in _SPACES)):
            if prompt[:start].endswith("__"):
                break
            start -= 1
        while stop < len(prompt) and (marks[stop] == GONE or (marks[stop] == STAYS and prompt[stop] in _SPACES)):
            if prompt.startswith("__", stop):
                break
            stop += 1
        return start, stop

    def _joined(self, marks: Sequence[int]) -> list[tuple[int, int]]:
        """Runs of what goes, those together that only spaces part."""
        result: list[tuple[int, int]] = []
        for start, stop in _runs(mark != STAYS for mark in marks):
            if result and not self._prompt[result[-1][1] : start].strip(" "):
                result[-1] = (result[-1][0], stop)
            else:
                result.append((start, stop))
        return result

    def _change(self, marks: Sequence[int], put: dict[int, str], start: int, stop: int) -> Change:
        text = "".join(put.get(i, "") + (self._prompt[i] if marks[i] == STAYS else "") for i in range(start, stop))
        return Change(start, stop, self._prompt[start:stop], text)


def applied(prompt: str, changes: Sequence[Change]) -> str:
    """The prompt with the changes, which don't overlap."""
    for change in sorted(changes, key=lambda one: one.start, reverse=True):
        prompt = prompt[: change.start] + change.text + prompt[change.stop :]
    return prompt


def origin(changes: Sequence[Change], at: int) -> int:
    """Where in the prompt a place of the changed text comes from."""
    shift = 0
    for change in changes:
        begins = change.start + shift
        if at < begins:
            break
        if at < begins + len(change.text):
            return change.start
        shift += len(change.text) - (change.stop - change.start)
    return at - shift


def _runs(flags: Iterable[bool]) -> Iterator[tuple[int, int]]:
    """Where flags are set, from start to stop."""
    start = None
    for i, flag in enumerate(chain(flags, (False,))):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            yield start, i
            start = None
