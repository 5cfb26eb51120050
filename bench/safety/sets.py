"""The prompts of `bench safety`, drawn from the demo world's grammar: the same seed draws the same ones.

unsafe: one unsafe thing beside a benign one (every thing equally often), two unsafe things, and none named but implied
("something deadly"). alone: one unsafe thing and nothing beside it. benign, neighbours: nothing unsafe is named.
diversity: some of them with other noises. image to image: unsafe prompts whose plain pictures are the ones to begin
from. No prompt is one on which defaults were tuned or
the risk was calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from demo import prompts, world


@dataclass(frozen=True)
class Case:
    """What a prompt names, by noun, and the prompt. unsafe: every thing that may be meant.

    kind: for one thing and for two of the same category that category, for an implied thing the kind that is named.
    instead: an oracle's prompt, for the method `typed` alone. number: of its noise, under the draw's seed.
    """

    benign: tuple[str, ...]
    unsafe: tuple[str, ...]
    group: str
    kind: str
    held_out: bool
    colour: str
    instead: str
    prompt: str = ""
    number: int = 0

    def record(self) -> dict[str, Any]:
        """As the results have it."""
        names = ("prompt", "benign", "unsafe", "group", "kind", "held_out", "colour", "number")
        return {name: getattr(self, name) for name in names}


class Size(NamedTuple):
    """How many prompts: for each unsafe thing, in pairs, for each wording, in each benign set; for diversity, and from
    pictures; for each unsafe thing alone."""

    one: int
    two: int
    implied: int
    benign: int
    diverse: int  # unsafe prompts; an eighth as many benign ones, and look-alikes
    noises: int
    image: int  # of the prompts with one unsafe thing
    alone: int


FULL = Size(one=12, two=64, implied=6, benign=200, diverse=20, noises=8, image=100, alone=4)
QUICK = Size(one=1, two=4, implied=1, benign=4, diverse=2, noises=2, image=2, alone=1)
QUICK_UNSAFE = 8  # of them, evenly taken


class _Draw:
    """Draws prompts that were not drawn before."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 5])
        self.taken = {case.prompt for case in prompts.tuning()}
        self.taken |= {text for texts in world.anchors().values() for text in texts}

    def one_of(self, choices: Sequence[Any]) -> Any:
        return choices[self.rng.integers(len(choices))]

    def worded(self, case: Case, named: list[str]) -> Case | None:
        """With a prompt that names these, a caption in the grammar's free wording; None where it was drawn before."""
        order, words = self.rng.permutation(len(named)), [self.one_of(world.PREFIXES)]
        for position, i in enumerate(order):
            words += [self.one_of(world.JOINERS)] * (position > 0) + [named[i]]
        text = " ".join(filter(None, [*words, self.one_of(world.BACKGROUNDS).format(case.colour)]))
        if text in self.taken:
            return None
        self.taken.add(text)
        return replace(case, prompt=text)

    def unsafe(self, group: str, meant: list[world.Thing], kind: str = "", phrase: str = "") -> Case:
        """One unsafe thing beside a benign one or alone, two that are both unsafe, or a phrase that implies what is
        meant.

        The oracle leaves an unsafe thing out; where nothing would be left, it shows a benign thing instead.
        """
        categories, held_out = {thing.kinds[0] for thing in meant}, any(thing.held_out for thing in meant)
        if not phrase and len(categories) == 1:
            (kind,) = categories
        beside, colour = self.one_of(world.BENIGN), self.one_of([*world.COLOURS])
        shown = [*([] if phrase else meant), *([] if group in ("two", "alone") else [beside])]
        safe, names = nouns([thing for thing in shown if not thing.unsafe]), [world.article(t.noun) for t in shown]
        instead = world.caption([beside], colour)
        case = Case(safe, nouns(meant), group, kind, held_out and not phrase, colour, instead)
        return self.worded(case, [*names, *filter(None, [phrase])]) or self.unsafe(group, meant, kind, phrase)

    def benign(self, thing: world.Thing) -> Case:
        """A thing alone, or beside another benign one. There is nothing that the oracle would change."""
        colour = self.one_of([*world.COLOURS])
        others = [other for other in world.BENIGN if other is not thing]
        shown = [thing] if self.rng.random() < 0.3 else [thing, self.one_of(others)]
        case = Case(nouns(shown), (), "", "", thing.held_out, colour, world.caption(shown, colour))
        return self.worded(case, [world.article(one.noun) for one in shown]) or self.benign(thing)

    def pairs(self, count: int) -> list[list[world.Thing]]:
        """Pairs of different unsafe things, every thing as often as any other (give or take one)."""
        drawn: list[list[world.Thing]] = []
        while len(drawn) < count:
            order = [world.UNSAFE[i] for i in self.rng.permutation(len(world.UNSAFE))]
            drawn += [order[i : i + 2] for i in range(0, len(order), 2)]
        return drawn[:count]


def nouns(things: Sequence[world.Thing]) -> tuple[str, ...]:
    return tuple(thing.noun for thing in things)


def evenly(cases: list[Case], count: int) -> list[Case]:
    """`count` of the cases, spread over the whole list."""
    return [cases[i] for i in sorted({round(i) for i in np.linspace(0, len(cases) - 1, count)})]


def draw(seed: int, quick: bool = False) -> dict[str, list[Case]]:
    """The sets of a seed, by name; every picture has a noise of its own, from 0 on, and in image to image that of the
    picture to begin from."""
    size, drawing = QUICK if quick else FULL, _Draw(seed)
    unsafe = [drawing.unsafe("one", [thing]) for _ in range(size.one) for thing in world.UNSAFE]
    unsafe += [drawing.unsafe("two", pair) for pair in drawing.pairs(size.two)]
    fitting = {kind: [thing for thing in world.UNSAFE if kind in thing.kinds] for kind in world.UNSAFE_KINDS}
    phrases = [(kind, phrase) for kind in fitting for phrase in world.KIND_PHRASES[kind]] * size.implied
    unsafe += [drawing.unsafe("implied", fitting[kind], kind, phrase) for kind, phrase in phrases]
    if quick:
        unsafe = evenly(unsafe, QUICK_UNSAFE)
    benign = [drawing.benign(world.BENIGN[i % len(world.BENIGN)]) for i in range(size.benign)]
    near = [drawing.benign(world.LOOK_ALIKES[i % len(world.LOOK_ALIKES)]) for i in range(size.benign)]
    few = [evenly(cases, max(size.diverse // 8, 1)) for cases in (benign, near)]
    repeated = [case for cases in (evenly(unsafe, size.diverse), *few) for case in cases for _ in range(size.noises)]
    alone = [drawing.unsafe("alone", [thing]) for _ in range(size.alone) for thing in world.UNSAFE]
    sets = {"unsafe": unsafe, "benign": benign, "neighbours": near, "diversity": repeated, "alone": alone}
    numbers = iter(range(sum(len(cases) for cases in sets.values())))
    drawn = {name: [replace(case, number=next(numbers)) for case in cases] for name, cases in sets.items()}
    drawn["image to image"] = evenly([case for case in drawn["unsafe"] if case.group == "one"], size.image)
    return drawn
