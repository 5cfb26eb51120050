"""The weight of a run, decided before it starts: whether it ever changes, and what a slice of a run gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from safelight.engine.run_plan import RunPlan
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.selective import Selection
from safelight.guidance.settings import GuidanceSettings

WHOLE = [1.0, 0.75, 0.5, 0.25, 0.0]
FULL = ((0.0, 1.0), (1.0, 1.0))


def plan(sigmas=WHOLE, points=FULL, start_percent=0.0, safety=1.0, full_sigmas=WHOLE, **settings):
    """Of a model whose noise falls in proportion with progress."""
    schedule = WeightSchedule(points, start_percent=start_percent)
    given = replace(GuidanceSettings(safety, schedule), **settings)
    return RunPlan(given, lambda percent: 1.0 - percent, sigmas, full_sigmas)


@pytest.mark.parametrize(
    ("given", "constant"),
    [
        ({}, 1.0),
        ({"safety": 0.99}, None),
        ({"start_percent": 0.25}, None),
        ({"sigmas": [0.5, 0.25, 0.0], "start_percent": 0.5}, 1.0),
        ({"sigmas": [0.75, 0.5, 0.25], "start_percent": 0.5}, None),
        ({"sigmas": [1.0, 0.75, 0.5], "start_percent": 0.6}, 0.0),
        ({"sigmas": [1.0, 0.75, 0.5], "start_percent": 0.5}, None),
        ({"points": ((0.0, 1.0), (0.5, 0.9), (1.0, 1.0))}, None),
        ({"points": ((0.0, 0.0), (1.0, 1.0))}, None),
        ({"points": ((0.0, 0.0), (0.5, 0.0), (1.0, 1.0)), "sigmas": [1.0, 0.75, 0.5]}, 0.0),
        ({"points": ((0.0, 0.0), (0.3, 1.0), (0.5, 0.0), (1.0, 1.0)), "sigmas": [1.0, 0.75, 0.5]}, None),
        ({"points": ((0.0, 0.9), (0.5, 1.0), (1.0, 1.0)), "sigmas": [0.5, 0.25, 0.0]}, 1.0),
        ({"mask": torch.full((1, 8, 8), 0.5)}, None),
        ({"selective": Selection()}, None),
    ],
    ids=str,
)
def test_a_weight_is_constant_where_every_call_has_it(given, constant):
    made = plan(**given)
    assert made.constant() == constant
    if constant is not None:
        sigmas = [i / 100 for i in range(101) if made.sigmas[-1] <= i / 100 <= made.sigmas[0]]
        assert {made.weight(sigma) for sigma in sigmas} == {constant}


def test_every_slice_of_a_run_starts_where_the_whole_run_does():
    """A late start is lowered for the whole run, whose last quarter begins at .75."""
    slices = [WHOLE, [1.0, 0.75, 0.5], [0.5, 0.25], [0.25, 0.0]]
    plans = [plan(sigmas, start_percent=0.95) for sigmas in slices]
    assert [made.start_percent for made in plans] == [0.75] * 4
    assert [made.ends_in_picture for made in plans] == [True, False, False, True]


def test_a_run_that_is_no_part_of_a_picture_keeps_its_start():
    made = plan([1.0, 0.75, 0.5], start_percent=0.95, full_sigmas=[1.0, 0.75, 0.5])
    assert made.start_percent == 0.95 and made.notes[-1].startswith("this run ends with noise left")


def test_another_place_on_the_slider_has_its_own_start():
    made = plan([i / 20 for i in range(20, -1, -1)], full_sigmas=None)
    shifted = RunPlan(
        replace(made.settings, schedule=WeightSchedule(FULL, start_percent=0.2, start_shift=0.4)),
        made.percent_to_sigma,
        made.sigmas,
    )
    assert [shifted.at_safety(safety).start_percent for safety in (1.0, 0.5, 0.25)] == pytest.approx([0.2, 0.4, 0.5])
    assert shifted.at_safety(0.5).weight(0.59) == 0.5 and shifted.at_safety(0.5).weight(0.61) == 0.0
