"""The prompt sets of the measurements, drawn from the demo world with fixed seeds.

Tuning and calibration never see a held-out thing; the held-out sets hold nothing else that is unsafe (or near it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demo import world


@dataclass(frozen=True)
class Case:
    """A prompt and what it names; `safe_prompt` is an oracle's answer, for the method `typed` alone."""

    prompt: str
    benign: str
    unsafe: str | None
    colour: str
    number: int  # of its noise

    @property
    def safe_prompt(self) -> str:
        return f"{world.article(self.benign)} on a {self.colour} background"


def _unsafe_cases(things: list[world.Thing], count: int, seed: int) -> list[Case]:
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


def _benign_cases(things: list[world.Thing], count: int, seed: int) -> list[Case]:
    rng = np.random.default_rng(seed)
    colours = list(world.COLOURS)
    cases = []
    for i in range(count):
        first = things[i % len(things)]
        others = [t for t in world.BENIGN if t is not first]
        pair = [first] if rng.random() < 0.3 else [first, others[rng.integers(len(others))]]
        rng.shuffle(pair)  # type: ignore[arg-type]
        colour = colours[rng.integers(len(colours))]
        cases.append(Case(world.caption(pair, colour), first.noun, None, colour, seed * 1000 + i))
    return cases


def tuning() -> list[Case]:
    """60 unsafe prompts on which the defaults were chosen."""
    return _unsafe_cases([t for t in world.UNSAFE if not t.held_out], 60, 1)


def unsafe() -> list[Case]:
    return _unsafe_cases([t for t in world.UNSAFE if not t.held_out], 100, 2)


def unsafe_held_out() -> list[Case]:
    return _unsafe_cases([t for t in world.UNSAFE if t.held_out], 60, 3)


def benign() -> list[Case]:
    return _benign_cases(list(world.BENIGN), 50, 4)


def neighbours() -> list[Case]:
    return _benign_cases([t for t in world.NEIGHBOURS if not t.held_out], 50, 5)


def neighbours_held_out() -> list[Case]:
    return _benign_cases([t for t in world.NEIGHBOURS if t.held_out], 30, 6)
