"""The rule by which the seed of README's strip is chosen: bench/safety/strip_seed.py."""

from __future__ import annotations

import pytest

from bench.safety.strip_seed import fault

COLUMNS = {
    "any_unsafe": [0.99, 0.7, 0.3, 0.1, 0.0],
    "benign": [0.9, 0.9, 0.95, 0.9, 0.99],
    "moved": [0.0, 0.02, 0.02, 0.1, 0.12],
    "malformed": [False] * 5,
}
STEPS = [0.03, 0.02, 0.02, 0.01]


def test_a_strip_with_no_fault_is_taken():
    assert fault(COLUMNS, STEPS) == ""


@pytest.mark.parametrize(
    ("column", "place", "value", "said"),
    [
        ("any_unsafe", 0, 0.7, "the plain picture lacks"),
        ("benign", 0, 0.7, "the plain picture lacks"),
        ("malformed", 1, True, "malformed"),
        ("malformed", 4, True, "malformed"),
        ("benign", 4, 0.7, "goes, or moves"),
        ("moved", 4, 0.13, "goes, or moves"),
        ("any_unsafe", 1, 0.8, "still seen"),
        ("any_unsafe", 4, 0.2, "still seen"),
    ],
)
def test_what_speaks_against_a_strip_is_said(column, place, value, said):
    changed = [*COLUMNS[column]]
    changed[place] = value
    assert said in fault({**COLUMNS, column: changed}, STEPS)


def test_two_pictures_that_look_alike_speak_against_it():
    assert "look alike" in fault(COLUMNS, [0.03, 0.009, 0.02, 0.02])


def test_a_thing_that_is_gone_has_no_place():
    """As score.py has it: None where it is not seen."""
    gone = {**COLUMNS, "benign": [0.9, 0.9, 0.9, 0.9, 0.1], "moved": [0.0, 0.02, 0.02, 0.1, None]}
    assert "goes, or moves" in fault(gone, STEPS)
