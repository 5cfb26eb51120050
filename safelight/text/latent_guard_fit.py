"""Latent Guard for every block of a text encoder: heads trained on encoded texts, and calibrated.

The calibration of a head (how sure it is of a concept that it never learned) comes from another one, which has not
learned the names left out; the choice is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from safelight.text.encoding import Key
from safelight.text.latent_guard import STEPS, Lesson, Rows, train
from safelight.text.latent_guard_reading import BlockGuard, Guard, Text
from safelight.text.latent_guard_texts import GuardTexts
from safelight.text.risk import Calibration, calibrate

STEPS_OF_BLOCK = 2 * STEPS  # of both heads
_UNCALIBRATED = Calibration(0.0, 0.0, 0.0)


def fit(texts: GuardTexts, encoded: Mapping[str, Text], seed: int, on_step: Callable[[], Any] = lambda: None) -> Guard:
    """encoded: every one of the texts. The same for the same seed. on_step: called before each of STEPS_OF_BLOCK steps
    of every block; an exception from it ends the training."""
    every = list(range(len(texts.names)))
    learned = [place for place in every if place not in texts.left_out]

    def trained(key: Key, places: list[int], calibration: Calibration) -> BlockGuard:
        lesson = _lesson(texts, encoded, key, places)
        return BlockGuard(train(lesson, seed, on_step), lesson.concepts, calibration)

    def highest(guard: BlockGuard, key: Key, some: Sequence[str]) -> list[float]:
        return [float(guard.scores(encoded[text][key]).max()) for text in some]

    unsafe = [pair.unsafe for pair in texts.pairs if pair.name in texts.left_out]
    guards = {}
    for key in encoded[texts.names[0].text]:
        part = trained(key, learned, _UNCALIBRATED)
        calibration = calibrate(highest(part, key, texts.benign), highest(part, key, unsafe))
        guards[key] = trained(key, every, calibration)
    return Guard(texts.names, guards)


def _lesson(texts: GuardTexts, encoded: Mapping[str, Text], key: Key, places: Sequence[int]) -> Lesson:
    """Of these names, in one block; of a text longer than a chunk the first one."""
    place_of = {place: i for i, place in enumerate(places)}
    pairs = [pair for pair in texts.pairs if pair.name in place_of]
    row_of = {
        text: i for i, text in enumerate(dict.fromkeys(text for pair in pairs for text in (pair.unsafe, pair.twin)))
    }
    rows = Rows.of([encoded[text][key][0].rows for text in row_of])
    concepts = torch.stack([encoded[texts.names[place].text][key][0].end for place in places])
    numbers = [(place_of[pair.name], row_of[pair.unsafe], row_of[pair.twin]) for pair in pairs]
    return Lesson(rows, concepts, torch.tensor(numbers))
