"""Intervals, differences, fronts: what can be said from one score a prompt.

Every interval is a bootstrap over prompts (percentiles of RESAMPLES draws, seeded). All rows of a prompt set share one
set of resamples, so that two methods are compared on the same prompts in each draw: a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

RESAMPLES, SEED = 2000, 11
LEVEL = 0.95
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

    @property
    def away_from_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def estimate(value: float, draws: np.ndarray, count: int) -> Estimate:
    """An estimate from its draws. No prompts, no value: all of it is nan."""
    known = draws[~np.isnan(draws)]
    if not count or not len(known):
        return Estimate(float("nan"), float("nan"), float("nan"), 0, draws)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(low), float(high), count, draws)


class Resamples:
    """How often each of `count` prompts is drawn, [RESAMPLES, count]: one object for a whole prompt set."""

    def __init__(self, count: int, seed: int = SEED, repetitions: int = RESAMPLES) -> None:
        if count < 1:
            raise ValueError(f"count: {count} prompts; at least 1 is needed")
        rng = np.random.default_rng(seed)
        self.times = rng.multinomial(count, np.full(count, 1 / count), size=repetitions).astype(np.float64)

    def mean(self, values: Sequence[float | None] | np.ndarray, keep: np.ndarray | None = None) -> Estimate:
        """The mean over the prompts of `keep` (all of them by default) that have a value; None and nan have none."""
        own = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        kept = ~np.isnan(own) if keep is None else ~np.isnan(own) & keep
        return self.ratio(np.where(kept, own, 0.0), kept.astype(np.float64), int(kept.sum()))

    def ratio(self, above: np.ndarray, below: np.ndarray, count: int) -> Estimate:
        """sum(above) / sum(below), both [count of the set]."""
        return pooled_ratio([(self, above, below)], count)

    def share(self, flags: Sequence[bool | None] | np.ndarray, keep: np.ndarray | None = None) -> Estimate:
        """As mean, of yes and no. Where all prompts agree no resample can differ: there the open end is the exact one
        (Clopper and Pearson), the largest share at which seeing none in `count` still has a chance of 2.5 %."""
        found = self.mean([None if f is None else float(f) for f in flags], keep)
        if found.count and found.value in (0.0, 1.0):
            reach = 1 - ((1 - LEVEL) / 2) ** (1 / found.count)
            low, high = (0.0, reach) if found.value == 0 else (1 - reach, 1.0)
            return Estimate(found.value, low, high, found.count, found.draws)
        return found


def pooled_ratio(parts: Sequence[tuple[Resamples, np.ndarray, np.ndarray]], count: int) -> Estimate:
    """sum(above) / sum(below) over several prompt sets, each resampled by itself."""
    above = sum(float(a.sum()) for _, a, _ in parts)
    below = sum(float(b.sum()) for _, _, b in parts)
    tops = np.sum([resamples.times @ a for resamples, a, _ in parts], axis=0)
    bottoms = np.sum([resamples.times @ b for resamples, _, b in parts], axis=0)
    draws = np.divide(tops, bottoms, out=np.full_like(tops, np.nan), where=bottoms > 0)
    return estimate(above / below if below > 0 else float("nan"), draws, count if below > 0 else 0)


def difference(a: Estimate, b: Estimate) -> Estimate:
    """a - b, both of the same prompt set, pair by pair."""
    return estimate(a.value - b.value, a.draws - b.draws, min(a.count, b.count))


def lost(kept: Estimate) -> Estimate:
    """1 - a share: what is lost where that is kept, so that less is better."""
    return Estimate(1 - kept.value, 1 - kept.high, 1 - kept.low, kept.count, 1 - kept.draws)


@dataclass(frozen=True)
class Standing:
    """Where a point stands among others, less being better in both of its figures.

    by: the points that are at least as good in both and better in one, the surest first; support: for each of them the
    share of resamples in which that holds; on_front: the share of resamples in which no point dominates this one.
    """

    by: tuple[int, ...]
    support: tuple[float, ...]
    on_front: float

    @property
    def front(self) -> bool:
        return not self.by

    @property
    def surely_behind(self) -> bool:
        return bool(self.by) and self.support[0] >= CERTAIN


def standings(points: Sequence[tuple[Estimate, Estimate]]) -> list[Standing]:
    """The Pareto front of points (two figures each, less is better), and how sure each place on it is."""
    # Rounded, so that what is equal stays so, whatever the order in which a machine adds.
    values = np.array([[a.value, b.value] for a, b in points]).reshape(-1, 2).round(12)
    draws = np.array([[a.draws, b.draws] for a, b in points]).round(12)  # [points, 2, RESAMPLES]
    found = []
    for i in range(len(points)):
        now = (values <= values[i]).all(1) & (values < values[i]).any(1)
        beats = (draws <= draws[i]).all(1) & (draws < draws[i]).any(1)  # [points, RESAMPLES]
        support = beats.mean(1)
        by = sorted(np.flatnonzero(now), key=lambda j: (-support[j], values[j].sum()))
        found.append(Standing(
            tuple(int(j) for j in by), tuple(float(support[j]) for j in by), float(1 - beats.any(0).mean())
        ))  # fmt: skip
    return found


def attained(cost: np.ndarray, result: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """The least `result` that a slider reaches at a `cost` of at most `budget`, linear between its steps.

    cost, result: [draws, steps] in the slider's order; budget: [draws]. nan where even the cheapest step costs more.
    """
    best = np.where(cost <= budget[:, None], result, np.inf).min(1)
    for k in range(cost.shape[1] - 1):
        here, there = cost[:, k], cost[:, k + 1]
        crosses = (np.minimum(here, there) < budget) & (budget < np.maximum(here, there))
        part = np.divide(budget - here, there - here, out=np.zeros_like(budget), where=crosses)
        between = result[:, k] + part * (result[:, k + 1] - result[:, k])
        best = np.where(crosses, np.minimum(best, between), best)
    return np.where(np.isinf(best), np.nan, best)


def monotone(values: np.ndarray) -> np.ndarray:
    """The non-decreasing curve nearest to each row of [draws, steps] (isotonic regression, least squares)."""
    steps = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), values.cumsum(1)], axis=1)
    # means[i][j]: of the steps from i to j; the fit at k is the largest over i <= k of the least over j >= k.
    fits = np.full_like(values, -np.inf)
    for i in range(steps):
        means = np.stack([(sums[:, j + 1] - sums[:, i]) / (j + 1 - i) for j in range(i, steps)], axis=1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        fits[:, i:] = np.maximum(fits[:, i:], least)
    return fits


def against_slider(
    point: tuple[Estimate, Estimate], slider: Sequence[tuple[Estimate, Estimate]]
) -> tuple[Estimate, Estimate]:
    """(what the slider reaches at the point's cost, the point's result less that): (cost, result) pairs, less is better
    in both. A difference below 0: the point is ahead.

    The slider's curve is made monotone first, cost rising and result falling: the luckiest of its steps must not speak
    for it.
    """
    rows = [np.concatenate([[found.value], found.draws]) for pair in slider for found in pair]
    cost, result = monotone(np.stack(rows[::2], axis=1)), -monotone(-np.stack(rows[1::2], axis=1))
    values = attained(cost, result, np.concatenate([[point[0].value], point[0].draws]))
    reached = estimate(float(values[0]), values[1:], 0 if np.isnan(values[0]) else point[1].count)
    return reached, difference(point[1], reached)


def confusion(named: Sequence[str], seen: Sequence[Sequence[str]], rows: Sequence[str], columns: Sequence[str]
              ) -> np.ndarray:  # fmt: skip
    """Of the prompts that name `rows[i]`, the share whose picture shows something of `columns[j]`; [rows, columns + 1],
    the last column for pictures that show nothing of any. nan in a row that no prompt names."""
    table = np.full((len(rows), len(columns) + 1), np.nan)
    for i, kind in enumerate(rows):
        own = [set(s) for n, s in zip(named, seen, strict=True) if n == kind]
        if own:
            shares = [np.mean([column in s for s in own]) for column in columns]
            table[i] = [*shares, np.mean([not s & set(columns) for s in own])]
    return table


def touched(distance: np.ndarray, redrawn: float) -> np.ndarray:
    """Perceptual distances to the plain twins as parts of a redrawing, cut at 1; `redrawn`: the mean perceptual
    distance between plain pictures of one prompt at different seeds."""
    if not redrawn > 0:
        raise ValueError(f"redrawn: {redrawn}; the distance between plain pictures at different seeds is above 0")
    return np.minimum(np.asarray(distance, dtype=np.float64) / redrawn, 1.0)


def disruption(parts: Sequence[tuple[Resamples, np.ndarray, np.ndarray]], redrawn: float) -> Estimate:
    """The proximal-disruption index over prompt sets of (resamples, closeness to the concepts [0,1], perceptual
    distance to the plain twin): the mean of touched(distance), each prompt weighted by its closeness.

    0: nothing near the concepts was touched; 1: all of it as if redrawn with another seed.
    """
    weighted = []
    for resamples, closeness, distance in parts:
        near = np.clip(np.asarray(closeness, dtype=np.float64), 0, 1)
        weighted.append((resamples, near * touched(distance, redrawn), near))
    return pooled_ratio(weighted, sum(len(near) for _, _, near in weighted))
