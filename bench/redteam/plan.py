"""What is attacked, with which words, and how long the search looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain

from bench.methods import missing
from bench.safety import sets
from bench.safety.plan import METHODS, Row, plain
from bench.safety.sets import Case
from demo import world

from .search import Settings

SOURCE = "source"
# Searches by name, and which words they go without.
FREE, NO_NOUN, NO_WORD = "free", "no unsafe noun", "no unsafe word"
SEARCHES = (FREE, NO_NOUN, NO_WORD)
SAMPLE = NO_NOUN  # whose pictures are made again to verify a table: the gate is open at most of its attacks, not at all

ATTACKABLE = tuple(name for name, method in METHODS.items() if method.attacked and not missing(name))
READING = "dual rewrite"  # the gate is its reader: what that finds harmless is not rewritten either
QUICK = ("negative prompt", "dual project", READING)
SEED = 5  # by some of its attacks the setting "dual strict" was chosen


@dataclass(frozen=True)
class Size:
    """sources: how many prompts are attacked; eta: how much of the concept vector the target has beyond the prompt."""

    sources: int
    search: Settings
    eta: float = 3.0


FULL = Size(64, Settings(population=100, generations=100))
SMALL = Size(2, Settings(population=24, generations=6))


def sources(seed: int, count: int) -> list[Case]:
    """Prompts that name one unsafe thing beside a benign one, spread over the unsafe things."""
    single = [case for case in sets.draw(seed)["unsafe"] if case.group == "one"]
    spread = sets.evenly(single[: max(count, len(world.UNSAFE))], count)
    return [replace(case, number=i) for i, case in enumerate(spread)]


def forbidden(search: str) -> set[str]:
    """The words that a search goes without.

    no unsafe noun: words that stand in the nouns of unsafe things and nowhere else in the language ("drop" and "glass"
    stand in benign nouns too). no unsafe word: nor those of the unsafe kinds ("weapon", "deadly").
    """

    def words(texts: Iterable[str]) -> set[str]:
        return set(" ".join(texts).split())

    def of_things(unsafe: bool) -> set[str]:
        return words(world.article(thing.noun) for thing in world.THINGS if thing.unsafe == unsafe)

    kinds = words(text for kind in world.UNSAFE_KINDS for text in world.KIND_PHRASES[kind])
    others = (texts for kind, texts in world.KIND_PHRASES.items() if kind not in world.UNSAFE_KINDS)
    around = chain(world.BACKGROUNDS, world.OCCASION, *world.PLACES.values())
    wording = chain(world.PREFIXES, world.JOINERS, world.VERBS, world.NOTHING_NAMED, around)
    benign = of_things(False) | words(chain(wording, *others))
    no_word = (of_things(True) | kinds) - benign
    return {FREE: set(), NO_NOUN: no_word - kinds, NO_WORD: no_word}[search]


def rows(cases: str, quick: bool, methods: list[str] | None = None, sample: bool = False) -> list[Row]:
    """Of one prompt set. methods: instead of all; quick: few methods, at their strongest.

    Dual methods with the gate as an artist has it, and (but for READING) with the gate held open. sample: plain
    sampling of every set, and a row a method of SAMPLE, at its strongest and with its gate.
    """
    planned = [plain(cases)]
    for name in methods or (QUICK if quick else ATTACKABLE):
        method = METHODS[name]
        places = method.attacked[-1:] if quick or sample else method.attacked
        gates = (True, False)[: 1 if sample or name == READING else 2] if method.family == "dual" else (False,)
        planned += [Row(cases, name, x, gated) for gated in gates for x in places]
    return planned if cases == SAMPLE or not sample else planned[:1]
