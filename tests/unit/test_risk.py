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


def test_unequal_numbers_of_anchors_do_not_move_the_decision_point_much():
    rng = np.random.default_rng(0)
    benign, unsafe = rng.normal(0.3, 0.05, 64), rng.normal(0.6, 0.05, 64)
    assert calibrate(benign, unsafe[:12]).decision == pytest.approx(calibrate(benign, unsafe).decision, abs=0.05)


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
