"""Where a run stands: progress in [0, 1] from the noise level, and the guard that no run goes unguided.

Progress is a function of sigma alone, never of a step counter: second-order samplers call the model between the
entries of the noise schedule, and a staged run sees a slice of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from safelight.checks import unit_number
from safelight.guidance.blend import LEAST_WEIGHT
from safelight.guidance.schedule import WeightSchedule

# 2**-26 is finer than the rounding below; the host's float32 noise tables resolve about 1e-7.
_HALVINGS = 26
_DIGITS = 6


def noise_level_progress(sigma: float, percent_to_sigma: Callable[[float], float]) -> float:
    """Progress at noise level sigma: the inverse of the host's percent_to_sigma, by bisection.

    percent_to_sigma: decreasing, as model_sampling's; its end values (a huge number or the largest sigma at 0, 0 at 1)
        need not be continuous with the rest.
    Returns a value in [0, 1], rounded to 6 digits so that a sigma that the host computed from a percentage gives that
    percentage back; 0 for sigmas above the model's largest, 1 for sigma 0. Never increases with sigma.
    Raises ValueError for a sigma that is not a number.
    """
    if math.isnan(sigma):
        raise ValueError("sigmas: expected numbers, got NaN in this run's noise schedule. Choose another scheduler.")
    if sigma <= 0.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        level = float(percent_to_sigma(middle))
        if math.isnan(level):
            raise ValueError("model: expected a noise level for every percentage, got NaN. Use another model.")
        if level >= sigma:
            low = middle
        else:
            high = middle
    return round(low, _DIGITS)


def step_progress(sigma: float, sigmas: Sequence[float]) -> float:
    """Progress at noise level sigma: its position among `sigmas`, linear between neighbours.

    sigmas: the full noise schedule of which the run is a part, steps + 1 values; sorted here from noisy to clean, so a
        reversed schedule gives the same progress.
    Returns i / steps at the i-th value; sigmas outside the schedule clamp to 0 and 1.
    """
    if math.isnan(sigma):
        raise ValueError("sigmas: expected numbers, got NaN in this run's noise schedule. Choose another scheduler.")
    levels = sorted((float(level) for level in sigmas), reverse=True)
    steps = len(levels) - 1
    if steps < 1:
        raise ValueError(f"sigmas: expected at least two noise levels, got {len(levels)}. Use more steps.")
    if sigma >= levels[0]:
        return 0.0
    if sigma <= levels[-1]:
        return 1.0
    i = max(index for index, level in enumerate(levels) if level >= sigma)
    return (i + (levels[i] - sigma) / (levels[i] - levels[i + 1])) / steps


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """Index of the step that a call at noise level sigma lies in: the last whose start is not below sigma.

    sigmas: noise levels of the run from noisy to clean. Levels above the first belong to step 0.
    """
    return max((i for i, level in enumerate(sigmas[:-1]) if level >= sigma), default=0)


def guarded_start(start_percent: float, step_starts: Sequence[float]) -> float:
    """`start_percent`, lowered where needed: the last quarter of the run, and at least its last step, is guarded.

    step_starts: the progress at each step's starting sigma, in order.
    The last quarter is that of the steps and that of the progress: a run of two steps may go from pure noise to almost
    none in the first, and a guarded second one would change nothing that can be seen. So the step that crosses
    progress 3/4 is guarded as well.
    """
    if not step_starts:
        return start_percent
    quarter = math.ceil(len(step_starts) / 4)
    crossing = max((p for p in step_starts if p <= 0.75), default=start_percent)
    return min(start_percent, crossing, *step_starts[-quarter:])


def clamp_start(
    schedule: WeightSchedule, safety: float, step_starts: Sequence[float], start_name: str = "context"
) -> tuple[float, list[str]]:
    """From where on this run is guided, and what the artist should know about it.

    step_starts: the progress at each step's starting sigma, in order, on the schedule's axis. For a slice of a longer
        run give the whole run's, so that every slice starts at the same progress.
    start_name: the method's own word for the schedule's start.
    With safety > 0 at least one step gets a weight above 0: the start is clamped by guarded_start; where the curve is
    zero at every step from there on, it is lowered to the latest step at which the curve acts; where there is no such
    step, a ValueError says so. With safety 0, or without steps, the schedule's own start comes back.
    """
    begins = schedule.begins(safety)
    if unit_number("safety", safety) == 0.0 or not step_starts:
        return begins, []
    run = f"{len(step_starts)} step{'' if len(step_starts) == 1 else 's'}"
    start = guarded_start(begins, step_starts)
    reason = "the last quarter of the run is guarded"
    if all(schedule.weight(p, safety, start) < LEAST_WEIGHT for p in step_starts):
        acting = [p for p in step_starts if schedule.weight(p, safety, 0.0) >= LEAST_WEIGHT]
        if not acting:
            raise ValueError(
                f"curve: expected a height above 0 at one of the {run} of this run, got 0 or too little to act at "
                "each, so nothing would be guarded. Raise the curve, or use more steps."
            )
        start = max(acting)
        reason = "the latest step at which the curve is above zero is guarded"
    if start == begins:
        return start, []
    return start, [f"{start_name} lowered from {begins:g} to {start:g}: with {run}, {reason}."]
