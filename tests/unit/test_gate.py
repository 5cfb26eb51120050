"""The gate: which risk is guided, and what counts as a risk."""

import math

import numpy as np
import pytest

from safelight.guidance.gate import is_open, read_risk
from safelight.guidance.settings import read_settings


@pytest.mark.parametrize(
    ("risk", "gate", "opened"), [(0.49, 0.5, False), (0.5, 0.5, True), (0.51, 0.5, True), (0.0, 0.0, True)]
)
def test_it_opens_at_its_own_risk(risk, gate, opened):
    assert is_open(risk, gate) == opened
    settings = read_settings(1.0, risk=risk, gate=gate)
    assert settings.gate_open == settings.acts == opened


@pytest.mark.parametrize("risk", [math.nan, math.inf, -math.inf, -0.01, 1.01, None, "0.2", [0.2]], ids=str)
def test_what_is_not_a_risk_counts_as_the_highest_and_is_said(risk):
    read, notes = read_risk(risk)
    assert read == 1.0 and len(notes) == 1 and str(risk) in notes[0]


@pytest.mark.parametrize("risk", [0, 0.0, 0.25, 1, 1.0, np.float32(0.25)], ids=repr)
def test_a_risk_is_read_as_it_is(risk):
    assert read_risk(risk) == (float(risk), [])


def test_at_safety_zero_nothing_acts_whatever_the_risk():
    assert not read_settings(0.0, risk=1.0).acts and read_settings(0.01, risk=1.0).acts
