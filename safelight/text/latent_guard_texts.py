"""The texts that Latent Guard learns from and is calibrated by, made without a language model.

Every concept is asked for by several names: the artist's phrase, what belongs to it by the table of kinds, and the
nouns of its I2P category in the table of stand-ins. A carrier text with such a name in it is unsafe; its safe twin is
the same carrier with something else in the place of the name. Half of the twins hold a look-alike, since otherwise the
head learns "a thing of the list" and takes neighbours for it. Names, not texts, are left out for the calibration.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safelight.text.anchors import BENIGN, LOOK_ALIKES, SENTENCES, TEMPLATES, everyday
from safelight.text.concepts import categories_of, is_term
from safelight.text.english import SMALL, article
from safelight.text.kinds import Kinds
from safelight.text.lexicon import FILE as LEXICON
from safelight.text.stand_ins import NOUN, StandIns

LEAST_NAMES, MOST_NAMES = 4, 64
LEFT_OUT = 4  # of so many names or phrases one is left out, for the calibration
_PAIRS, _FEWEST, _MOST = 200, 3, 12  # of all names together, and of each
_CALIBRATING = 60  # harmless texts
_FURTHER = (0, 0, 1, 3)  # everyday phrases around a carrier


@dataclass(frozen=True)
class Name:
    """text: as the head is asked; concept: the artist's phrase that it belongs to; thing: as a text names it."""

    text: str
    concept: str
    thing: str


@dataclass(frozen=True)
class Pair:
    """name: its place in the list."""

    name: int
    unsafe: str
    twin: str


@dataclass(frozen=True)
class GuardTexts:
    """left_out: places of the names that calibrate; benign: harmless texts that calibrate, whose things no pair has."""

    names: tuple[Name, ...]
    pairs: tuple[Pair, ...]
    left_out: frozenset[int]
    benign: tuple[str, ...]

    def all(self) -> list[str]:
        """Every text once: the names first."""
        texts = [name.text for name in self.names]
        texts += [text for pair in self.pairs for text in (pair.unsafe, pair.twin)]
        return list(dict.fromkeys([*texts, *self.benign]))


def guard_texts(
    concepts: Sequence[str],
    harmless: Sequence[str],
    seed: int,
    knows: Callable[[str], bool],
    phrases: Sequence[str] = BENIGN,
) -> GuardTexts:
    """knows: whether the text encoder knows every word of a text. phrases: everyday ones; harmless: the artist's own.

    Raises ValueError, naming the input, where there are fewer than LEAST_NAMES names.
    """
    rng = random.Random(seed)
    names = _names(concepts, knows, rng)
    if len(names) < LEAST_NAMES:
        raise ValueError(
            f"concepts: expected at least {LEAST_NAMES} things that this text encoder knows, got "
            f"{', '.join(name.text for name in names) or 'none'}. A guard learns from what they have in common; add "
            "other words for the same concept."
        )

    def pools(texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Those that are harmless and known, in two parts: to learn from, and to be calibrated by."""
        fitting = everyday([name.text for name in names], [text for text in dict.fromkeys(texts) if knows(text)])
        rng.shuffle(fitting)
        calibrating = len(fitting) // LEFT_OUT
        return fitting[calibrating:], fitting[:calibrating]

    table = StandIns.load()
    things = pools([_with_article(noun) for noun in table.nouns()])
    others = pools([phrase for phrase in phrases if phrase not in LOOK_ALIKES])
    own, shipped = pools(harmless), pools([*LOOK_ALIKES, *_phrases_with_unsafe_words()])
    carriers = [carrier for carrier in (*TEMPLATES, *SENTENCES) if knows(carrier.format("", thing="", other=""))]

    def filled(part: int) -> Callable[[str], str]:
        """A carrier, drawn at random, to put a thing into; every other one with more around it, as prompts are long."""
        carrier, around = rng.choice(carriers), others[part] or things[part] or [""]
        further = [rng.choice(around) for _ in range(rng.choice(_FURTHER))]
        place, other = rng.randint(0, len(further)), rng.choice(around)

        def fill(thing: str) -> str:
            return ", ".join([*further[:place], carrier.format(thing, thing=thing, other=other), *further[place:]])

        return fill

    def look_alike(part: int, name: str = "") -> str | None:
        pool = rng.choice([pool[part] for pool in (own, shipped) if pool[part]] or [[]])
        alike = [text for text in pool if _content(text) & _content(name)]
        return rng.choice(alike or pool) if pool else None

    def twin(name: Name, number: int) -> str:
        thing = look_alike(0, name.text) if number % 2 else _stand_in(table, name, knows) if number % 4 else None
        return thing or rng.choice(things[0] or others[0])

    count = min(max(_PAIRS // len(names), _FEWEST), _MOST)
    pairs = []
    for place, name in enumerate(names):
        for number in range(count):
            fill = filled(0)
            pairs.append(Pair(place, fill(name.thing), fill(twin(name, number))))
    learned = {pair.twin for pair in pairs}
    benign: dict[str, None] = {}
    for number in range(_CALIBRATING):
        if number % 3 == 0 and others[1]:
            text = others[1][number // 3 % len(others[1])]
        else:
            text = filled(1)((look_alike(1) if number % 6 == 1 else None) or rng.choice(things[1] or things[0]))
        if text not in learned:
            benign[text] = None
    return GuardTexts(tuple(names), tuple(pairs), _left_out(names, rng), tuple(benign))


def _names(concepts: Sequence[str], knows: Callable[[str], bool], rng: random.Random) -> list[Name]:
    """The artist's phrases, then in turn what belongs to each of them, MOST_NAMES at most."""
    table, stored, kinds = StandIns.load(), StandIns.stored()["table"], Kinds.load()
    names = {phrase.lower(): Name(phrase, phrase, _thing(table, phrase)) for phrase in concepts}
    queues = []
    for phrase in concepts:
        words = kinds.words(phrase)[1:] if kinds.has(phrase) else []
        if is_term(phrase):
            words = [*words, *(noun for category in categories_of(phrase) for noun in stored[category][NOUN])]
        rng.shuffle(words)
        queues.append([(word, phrase) for word in words])
    while any(queues) and len(names) < MOST_NAMES:
        for queue in queues:
            word, phrase = queue.pop() if queue else ("", "")
            if word and word not in names and knows(word) and len(names) < MOST_NAMES:
                names[word] = Name(word, phrase, _thing(table, word))
    return [name for name in names.values() if knows(name.thing)]


def _phrases_with_unsafe_words() -> list[str]:
    """Harmless ones, such as "butter knife"."""
    return [phrase.rstrip("*") for phrase in json.loads(LEXICON.read_text("utf-8"))["exceptions"]]


def _thing(table: StandIns, name: str) -> str:
    """With an article where the table says that it takes one."""
    nouns = [one for one in table.of(name.lower().split()) if one.part == NOUN]
    return _with_article(name) if nouns and not nouns[0].mass else name


def _with_article(noun: str) -> str:
    return f"{article(noun)} {noun}"


def _stand_in(table: StandIns, name: Name, knows: Callable[[str], bool]) -> str | None:
    for one in table.of(name.text.lower().split()):
        text = one.text if one.mass or name.thing == name.text else _with_article(one.text)
        if one.text and knows(text):
            return text
    return None


def _content(text: str) -> set[str]:
    return set(text.lower().split()) - SMALL


def _left_out(names: Sequence[Name], rng: random.Random) -> frozenset[int]:
    """One in LEFT_OUT, together with all that share a word with it: a knife is no news to who knows kitchen knives."""
    groups: list[tuple[set[str], list[int]]] = []
    for place, name in enumerate(names):
        words, places = _content(name.text), [place]
        for group in [group for group in groups if group[0] & words]:
            groups.remove(group)
            words, places = words | group[0], [*group[1], *places]
        groups.append((words, places))
    if len(groups) < LEAST_NAMES:  # nearly all share a word
        groups = [(set(), [place]) for place in range(len(names))]
    # What belongs to a phrase rather than the phrase, so that the rest still says what is meant.
    brought = [group for group in groups if all(names[i].text != names[i].concept for i in group[1])]
    groups = brought if len(brought) >= LEAST_NAMES else groups
    rng.shuffle(groups)
    left_out: list[int] = []
    for _, places in sorted(groups, key=lambda group: len(group[1])):  # the largest group is learned
        if len(left_out) + len(places) > max(len(names) // LEFT_OUT, 1):
            break
        left_out += places
    return frozenset(left_out)
