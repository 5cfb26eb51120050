"""The prompts on which defaults were tuned; those that are measured stand in bench/safety/sets.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo import world


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
