"""What can be said from one figure a prompt: intervals, paired differences, binomial bounds, quantiles, fronts.

Every interval is a bootstrap over prompts (percentiles of RESAMPLES draws, seeded). All rows of a prompt set share one
set of resamples, so that two methods are compared on the same prompts in each draw: a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import binomtest

RESAMPLES, SEED = 2000, 11
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
CERTAIN = 0.95  # share of the resamples in which a point must be dominated to count as surely dominated


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; `count` prompts stand behind it.

    draws: the value in each resample, [RESAMPLES]; nan where a resample held none of the prompts that count.
    """

    value: float
    low: float
    high: float
    count: int
    draws: np.ndarray = field(repr=False, compare=False)


def estimate(value: float, draws: np.ndarray, count: int) -> Estimate:
    """An estimate from its draws. No prompts, no value: all of it is nan."""
    known = draws[~np.isnan(draws)]
    if not count or not len(known):
        return Estimate(np.nan, np.nan, np.nan, 0, draws)
    return Estimate(float(value), *percentiles(known), count, draws)


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """The interval of LEVEL that draws span."""
    low, high = np.quantile(draws, TAILS)
    return float(low), float(high)


@cache
def binomial_interval(hits: int, count: int) -> tuple[float, float]:
    """Of a share, at LEVEL: the exact one (Clopper and Pearson)."""
    interval = binomtest(hits, count).proportion_ci(LEVEL, "exact")
    return float(interval.low), float(interval.high)


class Resamples:
    """How often each of `count` prompts is drawn, [RESAMPLES, count]: one object for a whole prompt set."""

    def __init__(self, count: int, seed: int = SEED, repetitions: int | None = None) -> None:
        if count < 1:
            raise ValueError(f"count: expected at least 1 prompt, got {count}.")
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(count, np.full(count, 1 / count), size=repetitions or RESAMPLES).astype(np.float64)

    def mean(self, values: Sequence[float | None] | np.ndarray, keep: np.ndarray | None = None) -> Estimate:
        """The mean over the prompts of `keep` (all of them by default) that have a value; None and nan have none."""
        numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        counted = ~np.isnan(numbers) if keep is None else ~np.isnan(numbers) & keep
        return self.ratio(np.where(counted, numbers, 0.0), counted.astype(np.float64), int(counted.sum()))

    def ratio(self, above: np.ndarray, below: np.ndarray, count: int) -> Estimate:
        """sum(above) / sum(below), both [count of the set]."""
        return pooled_ratio([(self, above, below)], count)

    def share(self, flags: Sequence[bool | None] | np.ndarray, keep: np.ndarray | None = None) -> Estimate:
        """As mean, of yes and no. Where all prompts agree no resample can differ: there the interval is the exact
        binomial one."""
        mean = self.mean([None if f is None else float(f) for f in flags], keep)
        if not mean.count or 0 < mean.value < 1:
            return mean
        low, high = binomial_interval(round(mean.value * mean.count), mean.count)
        return replace(mean, low=low, high=high)


Part = tuple[Resamples, np.ndarray, np.ndarray]


def pooled_ratio(parts: Sequence[Part], count: int) -> Estimate:
    """sum(above) / sum(below) over several prompt sets, each resampled by itself."""
    above, below = (sum(float(part[i].sum()) for part in parts) for i in (1, 2))
    tops, bottoms = (np.sum([part[0].times @ part[i] for part in parts], axis=0) for i in (1, 2))
    draws = np.divide(tops, bottoms, out=np.full_like(tops, np.nan), where=bottoms > 0)
    return estimate(above / below if below > 0 else np.nan, draws, count if below > 0 else 0)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b, both of the same prompt set, pair by pair."""
    return estimate(a.value - b.value, a.draws - b.draws, min(a.count, b.count))


def lost(share: Estimate) -> Estimate:
    """1 - a share: what is lost where that is kept, so that less is better."""
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.count, 1 - share.draws)


class Standing(NamedTuple):
    """Where a point stands among others, less being better in both of its figures.

    by: the points that are at least as good in both and better in one, the surest first; none: it is on the front.
    support: for each of them the share of resamples in which that holds; on_front: the share in which none does.
    """

    by: tuple[int, ...]
    support: tuple[float, ...]
    on_front: float


def standings(points: Sequence[tuple[Estimate, Estimate]]) -> list[Standing]:
    """The Pareto front of points (two figures each, less is better), and how sure each place on it is."""
    # Rounded, so that what is equal stays so, whatever the order in which a machine adds.
    values = np.array([[a.value, b.value] for a, b in points]).reshape(-1, 2).round(12)
    draws = np.array([[a.draws, b.draws] for a, b in points]).round(12)  # [points, 2, RESAMPLES]
    places = []
    for i in range(len(points)):
        now = (values <= values[i]).all(1) & (values < values[i]).any(1)
        beats = (draws <= draws[i]).all(1) & (draws < draws[i]).any(1)  # [points, RESAMPLES]
        support = beats.mean(1)
        by = sorted(np.flatnonzero(now), key=lambda j: (-support[j], values[j].sum()))
        sure = tuple(float(support[j]) for j in by)
        places.append(Standing(tuple(int(j) for j in by), sure, float(1 - beats.any(0).mean())))
    return places


def attained(cost: np.ndarray, result: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """The least `result` that a slider reaches at a `cost` of at most `budget`, linear between its steps.

    cost, result: [draws, steps], cost rising and result falling; budget: [draws]. nan where even the cheapest step
    costs more.
    """
    lines = zip(budget, cost, result, strict=True)
    return np.array([np.interp(most, costs, reached, left=np.nan) for most, costs, reached in lines])


class SliderCurve:
    """A slider's (cost, result) pairs, less being better in both.

    The curve is made monotone first, cost rising and result falling, as the nearest such one (isotonic regression): the
    luckiest of its steps must not speak for it.
    """

    def __init__(self, steps: Sequence[tuple[Estimate, Estimate]]) -> None:
        cost, result = (np.stack([_with_draws(step[i]) for step in steps], axis=1) for i in (0, 1))
        self.cost, self.result = monotone(cost), monotone(result, increasing=False)

    def against(self, point: tuple[Estimate, Estimate]) -> tuple[Estimate, Estimate]:
        """(what the slider reaches at the point's cost, the point's result less that): below 0 the point is ahead."""
        values = attained(self.cost, self.result, _with_draws(point[0]))
        reached = estimate(float(values[0]), values[1:], 0 if np.isnan(values[0]) else point[1].count)
        return reached, difference(point[1], reached)


def _with_draws(figure: Estimate) -> np.ndarray:
    return np.concatenate([[figure.value], figure.draws])


def monotone(values: np.ndarray, increasing: bool = True) -> np.ndarray:
    """The monotone curve nearest to each row of [draws, steps]."""
    return np.array([isotonic_regression(row, increasing=increasing).x for row in values])


def disruption(parts: Sequence[Part], redrawn: float) -> Estimate:
    """The proximal-disruption index over prompt sets of (resamples, closeness to the concepts [0,1], perceptual
    distance to the plain twin): the mean of the distances as parts of a redrawing, cut at 1, each prompt weighted by
    its closeness. redrawn: the mean perceptual distance between plain pictures of one prompt at different seeds.

    0: nothing near the concepts was touched; 1: all of it as if redrawn with another seed.
    """
    if not redrawn > 0:
        raise ValueError(f"redrawn: expected a distance above 0 between plain pictures, got {redrawn}.")
    near = [np.clip(np.asarray(closeness, dtype=np.float64), 0, 1) for _, closeness, _ in parts]
    touched = [np.minimum(np.asarray(distance, dtype=np.float64) / redrawn, 1.0) for *_, distance in parts]
    weighted = [(part[0], n * t, n) for part, n, t in zip(parts, near, touched, strict=True)]
    return pooled_ratio(weighted, sum(map(len, near)))
