import json
import math
import random
from pathlib import Path

import pytest
import torch

from safelight.guidance.blend import LEAST_WEIGHT
from safelight.guidance.progress import clamp_start, guarded_start, noise_level_progress, step_of, step_progress
from safelight.guidance.schedule import PRESETS, WeightSchedule

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "weights.json").read_text(encoding="utf-8"))
FULL = ((0.0, 1.0), (1.0, 1.0))


def diffusion_percent_to_sigma(percent: float) -> float:
    """Stable Diffusion's noise schedule, with the host's end values."""
    if percent <= 0.0:
        return 999999999.9
    if percent >= 1.0:
        return 0.0
    return _between((1.0 - percent) * 999)


def _between(step: float) -> float:
    low = int(step)
    part = step - low
    high = min(low + 1, 999)
    return math.exp((1 - part) * math.log(TABLE[low]) + part * math.log(TABLE[high]))


def _table() -> list[float]:
    alpha, table = 1.0, []
    for i in range(1000):
        beta = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * i / 999) ** 2
        alpha *= 1 - beta
        table.append(((1 - alpha) / alpha) ** 0.5)
    return table


TABLE = _table()


def flow_percent_to_sigma(percent: float) -> float:
    """A flow model's, shift 3."""
    if percent <= 0.0:
        return 1.0
    if percent >= 1.0:
        return 0.0
    return 3.0 * (1 - percent) / (1 + 2.0 * (1 - percent))


BOTH = pytest.mark.parametrize("percent_to_sigma", [diffusion_percent_to_sigma, flow_percent_to_sigma])


# --- noise level


@BOTH
def test_progress_inverts_percent_to_sigma(percent_to_sigma):
    for i in range(1, 1000):
        assert noise_level_progress(percent_to_sigma(i / 1000), percent_to_sigma) == i / 1000


def test_progress_of_known_flow_levels():
    # sigma = 3 t / (1 + 2 t) with t = 1 - p: p = .75 gives .75 / 1.5
    assert noise_level_progress(0.5, flow_percent_to_sigma) == 0.75
    assert noise_level_progress(0.9, flow_percent_to_sigma) == 0.25


@BOTH
def test_progress_clamps_outside_the_models_noise(percent_to_sigma):
    largest, smallest = percent_to_sigma(1e-9), percent_to_sigma(1 - 1e-9)
    for sigma in (largest, largest * 1.01, 1e9, 999999999.9, 1e12, math.inf):
        assert noise_level_progress(sigma, percent_to_sigma) == 0.0
    for sigma in (0.0, -0.0, -1.0, 5e-324, smallest / 2):
        assert noise_level_progress(sigma, percent_to_sigma) == 1.0


@BOTH
def test_progress_never_falls_as_the_noise_falls(percent_to_sigma):
    draw = random.Random(4)
    sigmas = sorted((draw.uniform(0, 1.2) * percent_to_sigma(1e-9) for _ in range(500)), reverse=True)
    progress = [noise_level_progress(sigma, percent_to_sigma) for sigma in sigmas]
    assert progress == sorted(progress) and len(set(progress)) > 350


def test_progress_takes_tensors_and_looks_at_the_model_a_bounded_number_of_times():
    calls = []

    def counted(percent):
        calls.append(percent)
        return torch.tensor(flow_percent_to_sigma(percent))  # as the host's Stable Cascade does

    assert noise_level_progress(0.5, counted) == 0.75
    assert len(calls) <= 30


def test_a_sigma_or_schedule_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="^sigmas: "):
        noise_level_progress(math.nan, flow_percent_to_sigma)
    with pytest.raises(ValueError, match="^model: "):
        noise_level_progress(0.5, lambda percent: math.nan)
    with pytest.raises(ValueError, match="^sigmas: "):
        step_progress(math.nan, [1.0, 0.0])


# --- steps


def test_step_progress_is_the_position_in_the_schedule():
    sigmas = [14.6, 6.0, 2.0, 1.0, 0.0]
    assert [step_progress(sigma, sigmas) for sigma in sigmas] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert step_progress(4.0, sigmas) == pytest.approx(0.375)
    assert step_progress(1.75, sigmas) == pytest.approx(0.5625)
    assert [step_progress(sigma, sigmas) for sigma in (99.0, -1.0)] == [0.0, 1.0]


def test_step_progress_of_a_run_that_ends_with_noise_clamps_at_its_end():
    assert step_progress(0.1, [14.6, 6.0, 2.0]) == 1.0


def test_step_progress_does_not_depend_on_the_direction_of_the_schedule():
    sigmas = [14.6, 6.0, 2.0, 2.0, 1.0, 0.0]
    for sigma in (20.0, 10.0, 6.0, 2.0, 1.5, 0.5):
        assert step_progress(sigma, sigmas[::-1]) == step_progress(sigma, sigmas)


def test_step_progress_never_falls_over_repeated_levels():
    sigmas = [8.0, 4.0, 4.0, 4.0, 1.0, 0.0]
    progress = [step_progress(level / 100, sigmas) for level in range(900, -1, -1)]
    assert progress == sorted(progress) and progress[0] == 0.0 and progress[-1] == 1.0


def test_a_schedule_without_a_step_is_refused():
    with pytest.raises(ValueError, match="^sigmas: "):
        step_progress(1.0, [1.0])


def test_a_call_lies_in_the_last_step_that_has_begun():
    sigmas = [8.0, 4.0, 2.0, 0.0]
    assert [step_of(sigma, sigmas) for sigma in (99.0, 8.0, 7.9, 4.0, 3.0, 2.0, 0.1, 0.0)] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert step_of(4.0, [8.0, 4.0, 4.0, 2.0]) == 2, "of equal levels the last"


# --- clamp


def test_the_last_quarter_and_at_least_the_last_step_are_guarded():
    starts = [i / 20 for i in range(20)]
    assert guarded_start(0.2, starts) == 0.2
    assert guarded_start(0.75, starts) == 0.75
    assert guarded_start(0.76, starts) == 0.75
    assert guarded_start(1.0, starts) == 0.75
    assert guarded_start(1.0, [0.0, 0.25, 0.5, 0.75]) == 0.75
    assert guarded_start(1.0, [0.0, 0.2, 0.4, 0.6, 0.8]) == 0.6
    assert guarded_start(0.3, [0.0]) == 0.0
    assert guarded_start(0.3, []) == 0.3


def test_the_clamp_never_raises_the_context_and_guards_a_quarter_of_any_run():
    draw = random.Random(5)
    for _ in range(500):
        starts = sorted(draw.random() for _ in range(draw.randint(1, 40)))
        context = draw.random()
        clamped = guarded_start(context, starts)
        assert clamped <= context
        assert sum(p >= clamped for p in starts) >= max(1, len(starts) / 4)
        crossing = max((p for p in starts if p <= 0.75), default=1.0)
        assert clamped <= crossing
        if min(crossing, starts[-math.ceil(len(starts) / 4)]) >= context:
            assert clamped == context


def test_the_step_that_crosses_three_quarters_of_the_noise_scale_is_guarded():
    assert guarded_start(0.3, [0.0, 0.998]) == 0.0
    assert guarded_start(1.0, [0.0, 0.33, 0.67, 0.998]) == 0.67


# --- guard


def test_every_preset_guards_every_run_at_its_last_step():
    draw = random.Random(6)
    for schedule in PRESETS.values():
        for steps in (1, 2, 4, 20):
            for starts in ([i / steps for i in range(steps)], sorted(draw.random() ** 3 for _ in range(steps))):
                context, _ = clamp_start(schedule, 0.01, starts)
                assert schedule.weight(starts[-1], 0.01, context) > 0.0


def test_an_untouched_context_has_no_note_and_a_lowered_one_names_both_values():
    schedule = WeightSchedule(FULL, start_percent=0.3)
    assert clamp_start(schedule, 0.5, [i / 20 for i in range(20)]) == (0.3, [])
    context, notes = clamp_start(schedule, 0.5, [0.0])
    assert context == 0.0
    assert len(notes) == 1 and "0.3 to 0:" in notes[0] and "1 step," in notes[0]


def test_safety_zero_changes_nothing():
    schedule = WeightSchedule(((0.0, 0.0), (0.5, 0.0), (1.0, 1.0)), start_percent=0.9)
    assert clamp_start(schedule, 0.0, [0.0]) == (0.9, [])
    assert clamp_start(schedule, 1.0, []) == (0.9, [])


def test_a_curve_that_ends_before_the_last_quarter_lowers_the_context_to_its_last_acting_step():
    schedule = WeightSchedule(((0.0, 1.0), (0.55, 1.0), (0.6, 0.0), (1.0, 0.0)), start_percent=0.55)
    context, notes = clamp_start(schedule, 1.0, [0.0, 0.25, 0.5, 0.75])
    assert context == 0.5 and len(notes) == 1 and "0.55 to 0.5:" in notes[0]
    # Enough steps to hit the curve behind its own context: nothing to lower.
    assert clamp_start(schedule, 1.0, [i / 100 for i in range(100)]) == (0.55, [])


def test_a_run_that_misses_the_curve_altogether_is_refused():
    schedule = WeightSchedule(((0.1, 0.0), (0.2, 1.0), (0.3, 0.0)), start_percent=0.0)
    with pytest.raises(ValueError, match="^curve: expected a height above 0 at one of the 2 steps"):
        clamp_start(schedule, 1.0, [0.0, 0.5])


def test_a_weight_too_small_to_be_a_number_counts_as_unguarded():
    with pytest.raises(ValueError, match="^curve: "):
        clamp_start(WeightSchedule(((0.0, 0.1), (1.0, 0.1))), 5e-324, [0.0, 0.5])


@pytest.mark.parametrize("safety", [math.nan, -0.5, 2.0])
def test_a_safety_that_is_no_share_is_refused(safety):
    with pytest.raises(ValueError, match="^safety: "):
        clamp_start(WeightSchedule(FULL), safety, [0.0])


def test_safety_above_zero_always_ends_in_a_guarded_step_or_an_error():
    draw = random.Random(7)
    outcomes = set()
    for _ in range(2000):
        xs = sorted(draw.sample(range(101), draw.randint(2, 6)))
        points = [(x / 100, draw.choice([0.0, 0.0, draw.random()])) for x in xs]
        try:
            schedule = WeightSchedule(
                points, draw.choice(["linear", "step", "monotone_cubic"]), start_percent=draw.random()
            )
        except ValueError:
            continue
        starts = [i / 8 for i in range(draw.randint(1, 8))]
        try:
            context, notes = clamp_start(schedule, 0.5, starts)
        except ValueError:
            outcomes.add("refused")
            assert all(schedule.weight(p, 0.5, 0.0) < LEAST_WEIGHT for p in starts)
            continue
        outcomes.add("lowered" if notes else "kept")
        assert any(schedule.weight(p, 0.5, context) >= LEAST_WEIGHT for p in starts)
        assert context <= schedule.start_percent and bool(notes) == (context < schedule.start_percent)
    assert outcomes == {"refused", "lowered", "kept"}


def test_the_weight_of_every_step_agrees_with_the_shared_vectors():
    assert len(VECTORS) >= 200
    for case in VECTORS:
        schedule = WeightSchedule(
            case["points"],
            case["interpolation"],
            start_percent=case["context"],
            start_shift=case["start_shift"],
            exponent=case["exponent"],
        )
        counted = case["starts"][: case["guarded"]]
        if case["weights"] is None:
            with pytest.raises(ValueError, match="^curve: expected a height above 0 at one"):
                clamp_start(schedule, case["safety"], counted)
            continue
        context, _ = clamp_start(schedule, case["safety"], counted)
        assert context == pytest.approx(case["used"], abs=1e-12), case
        weights = [schedule.weight(p, case["safety"], context) for p in case["starts"]]
        assert weights == pytest.approx(case["weights"], abs=1e-12), case
