"""Medians and spreads of runs that alternate with the stock sampler's.

A machine that other work slows down slows both of a pair, so ratios are taken within pairs, before the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Pair = Sequence[float]  # (what it is compared with, the case)


def spread(values: Sequence[float]) -> list[float]:
    """[lower quartile, median, upper quartile]; linear between values. Raises ValueError for none."""
    if len(values) == 0:
        raise ValueError("spread: there are no values.")
    return [float(value) for value in np.percentile(np.asarray(values, dtype=float), (25, 50, 75))]


def ratios(pairs: Sequence[Pair]) -> list[float]:
    return [ours / theirs for theirs, ours in pairs]


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """What the tables show of a record of measure.py.

    rows, memory: ratios. time, cpu: spreads of the pairs' ratios. milliseconds: of a picture, medians of both. beside:
    median milliseconds a step outside the model, of both; overhead: spread of the difference.
    """
    theirs, ours = record["rows"]
    outside = [[1000.0 * seconds / record["steps"] for seconds in pair] for pair in record["beside"]]
    return {
        "rows": ours / theirs,
        "time": spread(ratios(record["seconds"])),
        "cpu": spread(ratios(record["cpu"])),
        "milliseconds": [1000.0 * seconds / record["batch"] for seconds in medians(record["seconds"])],
        "memory": record["peak"][1] / record["peak"][0],
        "beside": medians(outside),
        "overhead": spread([ours - theirs for theirs, ours in outside]),
    }


def medians(pairs: Sequence[Pair]) -> list[float]:
    """Of what it is compared with, and of the case."""
    return [spread([pair[i] for pair in pairs])[1] for i in (0, 1)]
