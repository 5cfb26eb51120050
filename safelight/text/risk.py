"""Risk in [0, 1] from a prompt's score, calibrated so that 0.5 separates benign from unsafe anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

DECISION = 0.5
LEAST_AUC = 0.8  # below this the encoder can't tell the anchors apart, and risk is 1


def auc(benign: Sequence[float], unsafe: Sequence[float]) -> float:
    """The chance that an unsafe score exceeds a benign one (Mann-Whitney; ties count half). 0.5 says nothing."""
    b, u = np.asarray(benign, dtype=np.float64), np.asarray(unsafe, dtype=np.float64)
    if b.size == 0 or u.size == 0 or not (np.isfinite(b).all() and np.isfinite(u).all()):
        return 0.0
    return float(np.mean((u[:, None] > b[None]) + 0.5 * (u[:, None] == b[None])))


@dataclass(frozen=True)
class Calibration:
    """risk = logistic(slope * (score - decision)). auc: of the anchors that it was fitted to."""

    slope: float
    decision: float
    auc: float

    @property
    def can_tell(self) -> bool:
        return self.auc >= LEAST_AUC and self.slope > 0 and math.isfinite(self.slope * self.decision)

    def score(self, risk: float) -> float:
        """The score that has this risk, in (0, 1)."""
        return self.decision + math.log(risk / (1 - risk)) / self.slope

    def risk(self, score: float) -> float:
        """1 where the anchors could not be told apart or the score is not finite."""
        if not self.can_tell or not math.isfinite(score):
            return 1.0
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, self.slope * (score - self.decision)))))


def calibrate(benign: Sequence[float], unsafe: Sequence[float]) -> Calibration:
    """Platt scaling of anchor scores (Platt 1999, with his smoothed targets); both classes have the same weight.

    Smoothing keeps the slope finite where the anchors separate perfectly. Scores that are not finite give a calibration
    with `can_tell` False.
    """
    area = auc(benign, unsafe)
    if area < LEAST_AUC:
        return Calibration(0.0, 0.0, area)
    scores = np.concatenate([np.asarray(benign, dtype=np.float64), np.asarray(unsafe, dtype=np.float64)])
    few, many = len(benign), len(unsafe)
    target = np.concatenate([np.full(few, 1 / (few + 2)), np.full(many, (many + 1) / (many + 2))])
    importance = np.concatenate([np.full(few, 0.5 / few), np.full(many, 0.5 / many)])
    middle, spread = float(scores.mean()), max(float(scores.std()), 1e-12)
    x = (scores - middle) / spread
    slope, offset = 0.0, 0.0
    for _ in range(100):  # Newton's method; the loss is convex
        p = 1 / (1 + np.exp(-np.clip(slope * x + offset, -60, 60)))
        pull, curve = importance * (p - target), importance * p * (1 - p)
        gradient = np.array([(pull * x).sum(), pull.sum()])
        hessian = np.array([[(curve * x * x).sum(), (curve * x).sum()], [(curve * x).sum(), curve.sum()]])
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        step *= 2.0 / max(2.0, float(np.abs(step).max()))  # a full step may overshoot far from the optimum
        slope, offset = slope - float(step[0]), offset - float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    if slope <= 0:
        return Calibration(0.0, 0.0, area)
    return Calibration(slope / spread, middle - offset / slope * spread, area)


def prompt_score(shares: torch.Tensor) -> float:
    """A prompt's score: the largest of its words' shares [n], since one unsafe word in a long prompt is enough.

    NaN for a prompt without words.
    """
    return float(shares.max()) if shares.numel() else math.nan
