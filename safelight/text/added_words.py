"""A safe prompt for a picture that shows what its prompt doesn't say: what was found gives the words.

What should be there instead is added to the prompt (instead.py), or a caption of the picture is rewritten. Every text
is read again, and one that reads as unsafe gives way to the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from safelight.text.concepts import split_concepts
from safelight.text.english import DETERMINERS, PREPOSITIONS
from safelight.text.instead import Instead
from safelight.text.lexicon import folded
from safelight.text.markup import SEPARATORS, plain_text
from safelight.text.reader import Reading
from safelight.text.rewrite import DECISION
from safelight.text.safe_prompt import NoSafePrompt, make_safe_prompt, reader_of
from safelight.text.stand_ins import StandIns

_SEPARATOR = re.compile(rf"\s*\b{SEPARATORS}\b")
_END = re.compile(r"(?:[\s.,;:]|<[^<>]*>)*$")  # stays at the end: signs, and tags such as <lora:name:1>

# How taggers count figures, which the reader takes for words beside "nude". As stand-ins that keep them.
_COUNTS = "".join(f"{tag} = {tag}\n" for tag in ("1girl", "2girls", "3girls", "1boy", "2boys", "3boys", "1other"))


class AddedWords:
    """prompt: as written. safe_prompt: the artist's, "" for the prompt rewritten. concepts, stand_ins, false_alarms: as
    of make_safe_prompt. instead: the artist's own table. caption: of the plain picture, "" for none. knows: whether the
    text encoder knows a word, None where it reads any text.

    Attributes: safe: the prompt's own safe counterpart. caption: the caption rewritten, "" where nothing unsafe is
    found in it or it can't be rewritten.
    Raises ValueError, naming the input, as make_safe_prompt and Instead do.
    """

    def __init__(
        self,
        prompt: str,
        safe_prompt: str,
        concepts: str,
        instead: str,
        caption: str,
        stand_ins: str,
        false_alarms: float,
        knows: Callable[[str], bool] | None = None,
    ) -> None:
        table, read = StandIns.load(stand_ins), reader_of(concepts, false_alarms)
        self._instead = Instead(instead, table, knows)
        self._read: Callable[[str], Reading] = lambda text: read(table.without_kept(text))
        self._prompt, self.caption = prompt, ""
        self._concepts = split_concepts(concepts)
        self.safe = make_safe_prompt(prompt, safe_prompt, concepts, stand_ins, false_alarms, knows).text
        with suppress(NoSafePrompt):  # a caption in another language, say
            if caption.strip():
                made = make_safe_prompt(caption.strip(), "", concepts, _COUNTS + stand_ins, false_alarms, knows)
                self.caption = "" if made.harmless or self._read(made.text).risk >= DECISION else made.text

    def text(self, names: Sequence[str]) -> str:
        """The safe prompt for a picture in which these were found, the likeliest first, "" for what has no name.

        Without any it is the rewritten caption alone. It is the prompt's own safe counterpart where that says all of
        it, and never the prompt as written.
        """
        base = self.caption or self.safe
        alike = base == self._prompt
        harmless = self._harmless_beside(base)
        chosen: list[str] = []
        for name in names:
            for option in self._instead.of(name):
                if option in chosen:
                    break
                if _says(base, option):
                    if alike:
                        continue  # it did not help
                    break
                if harmless(with_added(base, [*chosen, option])):
                    chosen.append(option)
                    break
        if not chosen and alike:
            options = [*(option for name in names for option in self._instead.of(name)), *self._instead.of("")]
            chosen.append(next((one for one in options if harmless(with_added(base, [one]))), options[-1]))
        return with_added(base, chosen)

    def against(self, names: Sequence[str], last: bool) -> str:
        """What was found, as words for a negative prompt: those that the text encoder knows. last: where no other level
        follows, with all concepts behind it, since what comes in the place of a find may be another one."""
        words = [*names, *self._concepts] if last else names
        return ", ".join(word for word in dict.fromkeys(words) if word and self._instead.is_known(word))

    def _harmless_beside(self, base: str) -> Callable[[str], bool]:
        """Whether a text made of `base` reads as harmless; as no worse, where that itself doesn't or can't be read."""
        limit = self._read(base)
        return lambda text: bool(limit.unread) or self._read(text).risk < max(DECISION, limit.risk + 1e-6)


def with_added(prompt: str, additions: Sequence[str]) -> str:
    """The prompt with more words at the end of its first part, before BREAK, AND and the like.

    Things ("a cup of coffee") become "with a cup of coffee" in a sentence and tags of their own in a list of tags, and
    anything else ("fully clothed") follows a comma.
    """
    if not additions:
        return prompt
    parts = [match.start() for match in _SEPARATOR.finditer(prompt) if plain_text(prompt[: match.start()]).strip()]
    stop = parts[0] if parts else len(prompt)
    end = _END.search(prompt[:stop])
    body, rest = (prompt[: end.start()], prompt[end.start() :]) if end else (prompt, "")
    things = [one for one in additions if _first(one) in DETERMINERS]
    others = [one for one in additions if one not in things]
    *before, last = re.split(r"[,;|\n]", plain_text(body))
    words = folded(last).split()
    if before and not DETERMINERS & {*words} and not PREPOSITIONS & {*words}:
        return ", ".join([body, *(one.partition(" ")[2] for one in things), *others]) + rest
    if things:
        joined = " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)
        body = f"{body} {'and' if 'with' in words else 'with'} {joined}" if words else joined
    for one in others:
        body = f"{body}{' ' if _first(one) in PREPOSITIONS else ', '}{one}" if body else one
    return body + rest


def _first(text: str) -> str:
    return folded(text).partition(" ")[0]


def _says(text: str, addition: str) -> bool:
    """Whether a text has these words already."""
    words = folded(addition).split()
    words = words[1:] if words[0] in DETERMINERS else words
    return (
        re.search(rf"(?<!\w){re.escape(' '.join(words))}(?!\w)", " ".join(folded(plain_text(text)).split())) is not None
    )
