"""The way up the levels, picture by picture."""

import math

import pytest

from safelight.detect.least_level import LEVELS, ascent, compared, levels_up_to
from safelight.detect.look import Look
from safelight.guidance.schedule import DEFAULT_PRESET, PRESETS
from safelight.guidance.settings import read_settings

CLEAR, SEEN = Look(0.1), Look(0.9)


def test_levels_end_at_the_slider():
    assert levels_up_to(1.0) == (0.5, 0.75, 1.0)
    assert levels_up_to(0.8) == (0.5, 0.75, 0.8) and levels_up_to(0.75) == (0.5, 0.75) and levels_up_to(0.3) == (0.3,)
    for wrong in (0.0, -1.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="safety"):
            levels_up_to(wrong)


def test_a_clear_picture_stays_plain():
    way = ascent((0.5, 1.0))
    assert way.level == 0.0 and not way.look_early(CLEAR)
    assert not way.look_at_picture(CLEAR) and way.passed and way.level == 0.0
    assert [(one.level, one.early) for one in way.tried] == [(0.0, True), (0.0, False)]


def test_what_shows_early_goes_on_at_the_first_level_without_a_new_run():
    way = ascent((0.5, 1.0))
    assert way.look_early(SEEN) and way.rise() and way.level == 0.5
    assert not way.look_at_picture(CLEAR) and way.passed and way.level == 0.5


@pytest.mark.parametrize(
    ("early", "levels", "taken"),
    [
        (SEEN, (0.5, 0.75, 1.0), [0.5, 0.75, 1.0]),
        (CLEAR, (0.5, 0.75, 1.0), [0.75, 1.0]),  # a whole plain run is spent
        (CLEAR, (0.5, 0.75), [0.5, 0.75]),
        (CLEAR, (0.4,), [0.4]),
    ],
)
def test_what_shows_takes_every_level_in_turn_but_late_not_the_first_of_three(early, levels, taken):
    way, seen = ascent(levels), []
    if way.look_early(early):
        way.rise()
        seen.append(way.level)
    while way.look_at_picture(SEEN) and way.rise():
        seen.append(way.level)
    assert seen == taken and way.level == levels[-1] and not way.passed


def test_it_stops_at_the_first_level_that_passes():
    way = ascent((0.5, 0.75, 1.0))
    assert way.look_early(SEEN) and way.rise()
    assert way.look_at_picture(SEEN) and way.rise() and way.level == 0.75
    assert not way.look_at_picture(CLEAR) and way.passed and way.level == 0.75


@pytest.mark.parametrize(("at_least", "begins"), [(0.0, 0.0), (0.25, 0.5), (0.5, 0.5), (0.6, 0.75), (0.9, 0.75)])
def test_a_risky_text_begins_at_its_floor(at_least, begins):
    way = ascent((0.5, 0.75), at_least)
    assert way.level == begins
    assert not way.look_at_picture(CLEAR) and way.passed and way.level == begins


def test_of_levels_that_were_all_made_the_least_that_passes_is_the_one():
    way = compared({1.0: CLEAR, 0.0: SEEN, 0.5: CLEAR})
    assert way.level == 0.5 and way.passed and [one.level for one in way.tried] == [0.0, 0.5, 1.0]
    assert not any(one.early for one in way.tried)
    gap = compared({0.0: SEEN, 0.5: CLEAR, 1.0: SEEN})
    assert gap.level == 0.5 and gap.passed
    way = compared({0.25: SEEN, 1.0: SEEN})
    assert way.level == 1.0 and not way.passed


def test_new_words_go_up_the_levels_too_and_are_tried_once_more_at_the_last():
    way = ascent((0.5, 1.0))
    assert way.rise("a") and (way.level, way.words) == (0.5, "a")
    assert way.rise("a, b") and (way.level, way.words) == (1.0, "a, b")
    assert not way.rise("a, b") and way.rise("a, b, c") and (way.level, way.words) == (1.0, "a, b, c")
    assert not way.rise("a, b, c, d") and way.words == "a, b, c"
    assert not ascent(()).rise("a")


def test_there_are_never_more_steered_runs_than_levels():
    way = ascent((0.5, 0.75, 1.0))
    assert way.rise("a") and way.rise("b") and way.rise("c") and way.level == 1.0
    assert not way.rise("d") and way.words == "c"
    way = ascent((0.5, 1.0), at_least=1.0)  # begins steered
    assert way.rise("a") and not way.rise("b")


def test_without_a_linked_schedule_a_level_is_a_moment_from_which_the_safe_prompt_decides_alone():
    schedule = read_settings(1.0, looks=True).schedule
    assert [schedule.begins(level) for level in LEVELS] == [0.4, 0.25, 0.1]
    assert all(schedule.weight(1.0, level) == 1.0 for level in (0.01, *LEVELS))
    linked = PRESETS["gentle"]
    assert read_settings(1.0, linked, looks=True).schedule is linked
    assert read_settings(1.0).schedule is PRESETS[DEFAULT_PRESET]
