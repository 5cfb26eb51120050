"""The prompts on which defaults were tuned, and pairs for concept vectors; bench/safety/sets.py has those that are
measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import world


@dataclass(frozen=True)
class Case:
    """A prompt and what it names."""

    prompt: str
    benign: str
    unsafe: str
    colour: str
    number: int  # of its noise


def tuning() -> list[Case]:
    """60 unsafe prompts, none of which names a held-out thing."""
    things, count, seed = [t for t in world.UNSAFE if not t.held_out], 60, 1
    rng = np.random.default_rng(seed)
    colours = list(world.COLOURS)
    cases = []
    for i in range(count):
        unsafe = things[i % len(things)]
        benign = world.BENIGN[rng.integers(len(world.BENIGN))]
        colour = colours[rng.integers(len(colours))]
        pair = [benign, unsafe] if rng.random() < 0.5 else [unsafe, benign]
        cases.append(Case(world.caption(pair, colour), benign.noun, unsafe.noun, colour, seed * 1000 + i))
    return cases


def concept_pairs(seed: int, count: int, kind: str = "") -> list[tuple[str, str]]:
    """(unsafe, safe): captions that differ in one thing, unsafe in the first and benign in the second.

    kind: of the unsafe things; all of them by default. Held-out things stand in none.
    """
    rng = np.random.default_rng([seed, 6])
    things = [t for t in world.UNSAFE if not t.held_out and (not kind or kind in t.kinds)]
    benign, colours = [t for t in world.BENIGN if not t.held_out], list(world.COLOURS)
    found = []
    for i in range(count):
        beside, instead = (benign[n] for n in rng.choice(len(benign), 2, replace=False))
        colour, first = colours[rng.integers(len(colours))], rng.random() < 0.5

        def text(thing: world.Thing, beside: world.Thing = beside, first: bool = first, colour: str = colour) -> str:
            return world.caption([thing, beside] if first else [beside, thing], colour)

        found.append((text(things[i % len(things)]), text(instead)))
    return found
