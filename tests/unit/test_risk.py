"""Calibration of risk from anchor scores."""

import math

import numpy as np
import pytest
import torch

from safelight.text.risk import DECISION, Calibration, auc, calibrate, prompt_score


def test_auc_is_the_chance_of_the_right_order():
    assert auc([1, 2], [3, 4]) == 1.0
    assert auc([3, 4], [1, 2]) == 0.0
    assert auc([1, 3], [2, 4]) == 0.75
    assert auc([1, 1], [1, 1]) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_decision_point_parts_the_anchors(seed):
    rng = np.random.default_rng(seed)
    benign, unsafe = rng.normal(0.3, 0.05, 64), rng.normal(0.6, 0.08, 80)
    calibration = calibrate(benign, unsafe)
    assert calibration.can_tell
    assert calibration.risk(calibration.decision) == pytest.approx(DECISION)
    assert np.mean([calibration.risk(s) < 0.5 for s in benign]) > 0.9
    assert np.mean([calibration.risk(s) >= 0.5 for s in unsafe]) > 0.9


def test_risk_rises_with_the_score_and_stays_in_the_unit_interval():
    calibration = calibrate([0.1, 0.2, 0.3], [0.5, 0.7, 0.9])
    risks = [calibration.risk(s) for s in np.linspace(-5, 5, 101)]
    assert all(0 <= a <= b <= 1 for a, b in zip(risks, risks[1:], strict=False))
    assert risks[0] < 0.01 and risks[-1] > 0.99


def test_perfectly_separated_anchors_give_a_finite_slope():
    calibration = calibrate([0.2] * 64, [0.8] * 64)
    assert math.isfinite(calibration.slope) and 0.2 < calibration.decision < 0.8


@pytest.mark.parametrize("times", [5, 20])
def test_both_kinds_of_anchors_weigh_alike_whatever_their_numbers(times):
    """Overlapping scores that mirror each other part in the middle, however often one kind is repeated."""
    distances = np.linspace(-0.1, 0.3, 41)
    benign, unsafe = 0.5 - distances, 0.5 + distances
    assert calibrate(benign, unsafe).decision == pytest.approx(0.5)
    for kinds in ((benign, np.tile(unsafe, times)), (np.tile(benign, times), unsafe)):
        assert calibrate(*kinds).decision == pytest.approx(0.5, abs=0.01)


def test_separated_anchors_have_the_risk_of_platts_smoothed_targets():
    """1 / (n + 2) for n benign ones and (m + 1) / (m + 2) for m unsafe ones, not 0 and 1."""
    calibration = calibrate([0.2] * 8, [0.8] * 3)
    assert calibration.risk(0.2) == pytest.approx(1 / 10)
    assert calibration.risk(0.8) == pytest.approx(4 / 5)


def test_a_step_of_newtons_method_that_is_zero_ends_it():
    assert calibrate([0.0], [1.0]).risk(1.0) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("pairs", "tells"), [(79, False), (80, True)])
def test_an_encoder_can_tell_from_four_fifths_of_the_pairs_on(pairs, tells):
    """Ten benign and ten unsafe scores, of whose 100 pairs so many are in the right order."""
    benign, beaten = list(range(10)), [8] * 10
    beaten[0] -= 80 - pairs
    unsafe = [count - 0.5 for count in beaten]
    assert auc(benign, unsafe) == pairs / 100
    assert calibrate(benign, unsafe).can_tell == tells


def test_one_score_that_is_not_a_number_is_enough_to_tell_nothing():
    rng = np.random.default_rng(3)
    benign, unsafe = rng.normal(0.3, 0.05, 64), rng.normal(0.6, 0.05, 64)
    assert calibrate(benign, unsafe).can_tell
    for spoilt in ((np.append(benign, math.nan), unsafe), (benign, np.append(unsafe, math.nan))):
        assert not calibrate(*spoilt).can_tell


@pytest.mark.parametrize(
    "benign, unsafe",
    [
        (np.random.default_rng(1).normal(size=64), np.random.default_rng(2).normal(size=64)),
        ([0.5] * 9, [0.5] * 9),
        ([0.8, 0.9], [0.1, 0.2]),
        ([0.1, math.nan], [0.8, 0.9]),
        ([], [0.8]),
    ],
    ids=["alike", "constant", "reversed", "not finite", "none"],
)
def test_an_encoder_that_cannot_tell_gives_risk_one(benign, unsafe):
    calibration = calibrate(benign, unsafe)
    assert not calibration.can_tell
    assert calibration.risk(-10.0) == 1.0


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_counts_as_one(score):
    assert Calibration(slope=10.0, decision=0.5, auc=0.99).risk(score) == 1.0


def test_one_unsafe_word_is_enough():
    assert prompt_score(torch.tensor([0.1, 0.9, 0.2])) == pytest.approx(0.9)
    assert math.isnan(prompt_score(torch.zeros(0)))
