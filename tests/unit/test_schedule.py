import dataclasses
import json
import math
import random
from pathlib import Path

import pytest

from safelight.guidance.schedule import (
    AXES,
    CUSTOM,
    DEFAULT_PRESET,
    EXPONENT,
    INTERPOLATIONS,
    PRESETS,
    START_SHIFT,
    WeightSchedule,
    from_preset,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "curves.json").read_text(encoding="utf-8"))
FULL = ((0.0, 1.0), (1.0, 1.0))


def random_points(draw: random.Random) -> list[tuple[float, float]]:
    xs = sorted(draw.sample(range(10001), draw.randint(2, 9)))
    points = [(x / 10000, draw.choice([0.0, 1.0, draw.random()])) for x in xs]
    return [*points[:-1], (points[-1][0], max(points[-1][1], 0.01))]


class HostCurve:
    """Stands for the host's curve object: control points and an evaluation, no word on how it interpolates."""

    def __init__(self, points, interp):
        self.points, self.interp = points, interp


# --- evaluation


def test_curve_agrees_with_the_shared_vectors():
    assert len(VECTORS) >= 200
    for case in VECTORS:
        schedule = WeightSchedule(case["points"], case["interpolation"], start_percent=0.0)
        for x, y in case["samples"]:
            assert schedule.curve(x) == pytest.approx(y, abs=1e-12), (case["points"], case["interpolation"], x)


def test_the_three_interpolations_between_two_points():
    points = ((0.0, 0.0), (0.5, 1.0), (1.0, 1.0))
    # Cubic: secants 2 and 0, so the tangent at .5 is 0 and the one at 0 is 2: h(.25) = .5 + .125 * .5 * 2 = .625
    expected = {"linear": 0.5, "step": 0.0, "monotone_cubic": 0.625}
    for interpolation in INTERPOLATIONS:
        assert WeightSchedule(points, interpolation).curve(0.25) == pytest.approx(expected[interpolation], abs=1e-15)


def test_end_heights_hold_outside_the_points():
    for interpolation in INTERPOLATIONS:
        schedule = WeightSchedule(((0.3, 0.25), (0.6, 0.75)), interpolation)
        assert [schedule.curve(p) for p in (-1.0, 0.0, 0.3, 0.6, 1.0, 7.0)] == [0.25, 0.25, 0.25, 0.75, 0.75, 0.75]


def test_a_step_jumps_at_its_point_and_not_before():
    schedule = WeightSchedule(((0.0, 0.1), (0.5, 0.9), (1.0, 0.3)), "step")
    assert [schedule.curve(p) for p in (0.5 - 1e-12, 0.5, 1 - 1e-12, 1.0)] == [0.1, 0.9, 0.9, 0.3]


def test_monotone_cubic_never_leaves_the_heights_of_its_neighbours():
    draw = random.Random(1)
    for _ in range(200):
        points = random_points(draw)
        schedule = WeightSchedule(points, "monotone_cubic", start_percent=0.0)
        for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
            heights = [schedule.curve(x0 + t / 20 * (x1 - x0)) for t in range(21)]
            ordered = sorted(heights, reverse=y1 < y0)
            assert max(abs(a - b) for a, b in zip(heights, ordered, strict=True)) < 1e-12
            assert min(y0, y1) - 1e-12 <= min(heights) and max(heights) <= max(y0, y1) + 1e-12


def test_a_height_never_leaves_the_range_by_rounding():
    # Where the plain arithmetic gives -2.2e-16 and 1 + 2.2e-16.
    low = WeightSchedule(((0.09, 1.0), (0.21, 0.0), (0.79, 0.6558729489347994)), "monotone_cubic")
    high = WeightSchedule(((0.26, 0.0), (0.63, 1.0), (0.94, 0.2605302866978737)), "monotone_cubic")
    assert low.curve(0.2099999997818368) == 0.0
    assert high.curve(0.6299999999990743) == 1.0


def test_mean_is_the_integral():
    assert WeightSchedule(((0.0, 0.0), (1.0, 1.0))).mean(0.2, 0.8) == pytest.approx(0.5, abs=1e-15)
    assert WeightSchedule(((0.0, 1.0), (0.25, 0.0), (1.0, 0.0)), start_percent=0.0).mean(0.0, 1.0) == pytest.approx(
        0.125
    )
    assert WeightSchedule(((0.0, 0.2), (0.5, 1.0)), "step").mean(0.4, 0.9) == pytest.approx(0.1 * 0.4 + 1.0 * 0.8)
    assert WeightSchedule(((0.4, 0.5), (0.6, 0.5))).mean(0.0, 1.0) == pytest.approx(0.5)
    assert WeightSchedule(((0.0, 0.0), (1.0, 1.0))).mean(0.3, 0.3) == pytest.approx(0.3)
    draw = random.Random(2)
    for interpolation in INTERPOLATIONS:
        schedule = WeightSchedule(random_points(draw), interpolation, start_percent=0.0)
        cells = 20000
        midpoints = sum(schedule.curve(0.1 + 0.8 * (i + 0.5) / cells) for i in range(cells)) / cells
        assert schedule.mean(0.1, 0.9) == pytest.approx(midpoints, abs=1e-4)
    with pytest.raises(ValueError, match="in order for its mean"):
        schedule.mean(0.9, 0.1)


# --- weight


def test_weight_is_safety_times_curve_from_the_context_on():
    schedule = WeightSchedule(((0.0, 0.0), (1.0, 1.0)), start_percent=0.4)
    assert schedule.weight(0.4 - 1e-9, 1.0) == 0.0
    assert schedule.weight(0.4, 1.0) == 0.4
    assert schedule.weight(0.5, 0.5) == 0.25
    assert schedule.weight(0.2, 0.5, start_percent=0.2) == 0.1
    assert schedule.weight(0.9, 0.0) == 0.0


def test_a_lower_slider_begins_later():
    schedule = WeightSchedule(FULL, start_percent=0.2, start_shift=0.4)
    assert [schedule.begins(safety) for safety in (1.0, 0.5, 0.0)] == pytest.approx([0.2, 0.4, 0.6])
    assert schedule.weight(0.39, 0.5) == 0.0 and schedule.weight(0.41, 0.5) == 0.5
    assert WeightSchedule(FULL, start_percent=0.9, start_shift=0.4).begins(0.5) == 1.0
    assert schedule.begins(0.625) == 0.35 and schedule.weight(0.35, 0.625) == 0.625  # not a rounding's breadth later
    root = WeightSchedule(FULL, start_percent=0.2, exponent=0.5)
    assert [root.weight(0.5, safety) for safety in (0.0, 0.25, 1.0)] == [0.0, 0.5, 1.0]
    assert WeightSchedule(FULL, exponent=0.0).strength(0.0) == 0.0
    with pytest.raises(ValueError, match="^later: expected a number from 0 to 1, got 1.5"):
        WeightSchedule(FULL, start_shift=1.5)


@pytest.mark.parametrize("safety", [math.nan, math.inf, -0.1, 1.1, "1", None, True])
def test_a_safety_that_is_no_share_is_refused(safety):
    with pytest.raises(ValueError, match="^safety: "):
        WeightSchedule(FULL).weight(0.5, safety)


def test_a_progress_that_is_not_a_number_is_refused_rather_than_unguarded():
    with pytest.raises(ValueError, match="^sigmas: "):
        WeightSchedule(FULL).weight(math.nan, 1.0)


# --- refusals


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ([[0, math.nan], [1, 1]], "height of point 1: expected a finite number from 0 to 1, got nan"),
        ([[0, 1], [math.nan, 1]], "progress of point 2: expected a finite number from 0 to 1, got nan"),
        ([[0, math.inf], [1, 1]], "height of point 1: expected a finite number from 0 to 1, got inf"),
        ([[0, 1], [1, -math.inf]], "height of point 2: expected a finite number from 0 to 1, got -inf"),
        ([[0, 10**400], [1, 1]], "height of point 1: expected a finite number from 0 to 1, got inf"),
        ([[-0.01, 1], [1, 1]], "progress of point 1: expected a number from 0 to 1, got -0.01"),
        ([[0, 1], [1.01, 1]], "progress of point 2: expected a number from 0 to 1, got 1.01"),
        ([[0, 1], [1, 1.5]], "height of point 2: expected a number from 0 to 1, got 1.5"),
        ([[0, 1]], "expected at least two points, got 1"),
        ([], "expected at least two points, got 0"),
        ([[0, 1], [0.5, 0.2], [0.5, 0.3]], r"two points stand at progress 0.5 \(heights 0.2 and 0.3\)"),
        ([[0.5, 0.2], [0, 1], [0.5, 0.2]], "two points stand at progress 0.5"),
        ([[0, 1], [5e-324, 0]], "too close"),
        ([[0, 0], [1, 0]], "got 0 at most"),
        ([[0, 1], [1]], "expected a pair .* for point 2, got \\[1\\]"),
        ([[0, 1], [0.5, 1, 1]], "expected a pair .* for point 2"),
        ([0, 1], "expected a pair .* for point 1, got 0"),
        ([[0, 1], "11"], "expected a pair .* for point 2, got '11'"),
        ([["0", 1], [1, 1]], "progress of point 1: expected a number from 0 to 1, got '0'"),
        ([[0, None], [1, 1]], "height of point 1: expected a number from 0 to 1, got None"),
        ([[0, True], [1, 1]], "height of point 1: expected a number from 0 to 1, got True"),
        ("[[0, 1]]", "expected a list of points, got '\\[\\[0, 1\\]\\]'"),
        ({"0": 1}, "expected a list of points, got"),
        (None, "expected a list of points, got None"),
        (3.0, "expected a list of points, got 3.0"),
    ],
)
def test_points_that_cannot_be_a_curve_are_refused_by_name(points, fault):
    with pytest.raises(ValueError, match="^curve: .*" + fault):
        WeightSchedule(points)
    with pytest.raises(ValueError, match="^curve: .*" + fault):
        WeightSchedule.from_value({"points": points})


@pytest.mark.parametrize("context", [math.nan, math.inf, -0.01, 1.01, "0.2", True])
def test_a_context_out_of_range_is_refused(context):
    with pytest.raises(ValueError, match="^context: "):
        WeightSchedule(FULL, start_percent=context)


@pytest.mark.parametrize("interpolation", ["cubic", "", None, 3])
def test_an_unknown_interpolation_is_refused_and_the_known_ones_named(interpolation):
    with pytest.raises(ValueError, match="^curve: unknown interpolation .*linear, monotone_cubic, step"):
        WeightSchedule(FULL, interpolation)


def test_an_unknown_axis_is_refused_and_the_known_ones_named():
    with pytest.raises(ValueError, match="^axis: unknown axis 'time'.*noise level, steps"):
        WeightSchedule(FULL, axis="time")


def test_a_curve_that_is_zero_from_its_context_on_is_refused():
    ramp = ((0.0, 1.0), (0.5, 0.0), (1.0, 0.0))
    for interpolation in INTERPOLATIONS:
        with pytest.raises(ValueError, match="expected a height above 0 from context 0.5 on"):
            WeightSchedule(ramp, interpolation, start_percent=0.5)
        assert WeightSchedule(ramp, interpolation, start_percent=0.45).weight(0.45, 1.0) > 0
    WeightSchedule(((0.0, 0.0), (0.9, 0.0), (1.0, 1.0)), start_percent=0.2)  # zero at its context, not after it


# --- forms of a curve


def test_every_form_of_the_same_curve_reads_the_same():
    points = [[0.0, 0.25], [0.5, 1.0], [1.0, 0.5]]
    value = {"points": points, "interpolation": "linear"}
    schedule = WeightSchedule(((0.0, 0.25), (0.5, 1.0), (1.0, 0.5)), "linear")
    forms = [
        schedule,
        value,
        json.dumps(value),
        {"__value__": value},
        {"__type__": "CURVE", "__value__": value},
        json.dumps({"__type__": "CURVE", "__value__": value}),
        {"points": list(reversed(points)), "interpolation": "linear"},
        HostCurve([tuple(p) for p in points], schedule.curve),
    ]
    for form in forms:
        assert WeightSchedule.from_value(form) == schedule


def test_without_a_word_on_interpolation_it_is_the_hosts_default():
    for form in ([[0, 0], [1, 1]], {"points": [[0, 0], [1, 1]]}, "[[0, 0], [1, 1]]", {"__value__": [[0, 0], [1, 1]]}):
        assert WeightSchedule.from_value(form).interpolation == "monotone_cubic"


def test_a_host_curve_is_read_by_how_it_evaluates():
    for points in (((0.0, 0.0), (0.3, 0.9), (1.0, 1.0)), ((0.0, 0.0), (0.5, 0.49), (1.0, 1.0))):
        for interpolation in INTERPOLATIONS:
            truth = WeightSchedule(points, interpolation)
            assert WeightSchedule.from_value(HostCurve(points, truth.curve)) == truth
    parabola = HostCurve([(0.0, 0.0), (1.0, 1.0)], lambda x: x * x)
    del parabola.points
    for curve in (parabola, HostCurve([(0.0, 0.0), (1.0, 1.0)], lambda x: x * x)):
        read = WeightSchedule.from_value(curve)
        assert max(abs(read.curve(p / 999) - (p / 999) ** 2) for p in range(1000)) < 1e-5


def test_a_host_curve_that_leaves_the_range_or_is_zero_is_refused():
    with pytest.raises(ValueError, match="expected a number from 0 to 1, got 1.00781"):
        WeightSchedule.from_value(HostCurve([(0, 0), (1, 1)], lambda x: 2 * x))
    with pytest.raises(ValueError, match="nan"):
        WeightSchedule.from_value(HostCurve([(0, 0), (1, 1)], lambda x: math.nan))
    with pytest.raises(ValueError, match="got 0 at most"):
        WeightSchedule.from_value(HostCurve([(0, 0), (1, 0)], lambda x: 0.0))


def test_to_dict_survives_json_exactly():
    draw = random.Random(3)
    for _ in range(50):
        schedule = WeightSchedule(
            random_points(draw),
            draw.choice(INTERPOLATIONS),
            start_percent=draw.random() / 2,
            axis=draw.choice(AXES),
            start_shift=draw.random(),
            exponent=draw.random(),
        )
        assert WeightSchedule.from_value(json.dumps(schedule.to_dict())) == schedule


def test_context_and_axis_given_beside_the_value_win_over_its_own():
    value = {"points": [[0, 1], [1, 1]], "context": 0.7, "axis": "steps"}
    assert WeightSchedule.from_value(value).start_percent == 0.7
    for form in (value, WeightSchedule.from_value(value)):
        read = WeightSchedule.from_value(form, start_percent=0.1, axis="noise level")
        assert (read.start_percent, read.axis) == (0.1, "noise level")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "got an empty text"),
        ("  \n", "got an empty text"),
        ('{"points": [[0, 1],\n [1, 1}', "expected JSON, got a fault at line 2, column 7"),
        ("[[0, NaN], [1, 1]]", "height of point 1: expected a finite number from 0 to 1, got nan"),
        ("[[0, 1e999], [1, 1]]", "height of point 1: expected a finite number from 0 to 1, got inf"),
        ("[" * 100_000, "a text that can't be read"),
        ("5", "expected a curve, got 5"),
        ("null", "expected a curve, got None"),
        ('"[[0, 1], [1, 1]]"', "expected a curve, got"),
        ('{"knots": []}', r"expected points, got an object with \['knots'\]"),
        ('{"__type__": "RANGE", "__value__": {}}', "of type 'RANGE'"),
    ],
)
def test_text_that_is_no_curve_is_refused_and_the_place_named(text, fault):
    with pytest.raises(ValueError, match="^curve: .*" + fault):
        WeightSchedule.from_value(text)


@pytest.mark.parametrize("value", [None, 3, b"[[0,1],[1,1]]", object(), True])
def test_values_that_are_no_curve_are_refused(value):
    with pytest.raises(ValueError, match="^curve: expected a curve, got"):
        WeightSchedule.from_value(value)


def test_a_schedule_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        WeightSchedule(FULL).start_percent = 0.9  # type: ignore[misc]
    points = [[0.0, 1.0], [1.0, 1.0]]
    schedule = WeightSchedule(points)  # type: ignore[arg-type]
    points[0][1] = 0.0
    assert schedule.curve(0.0) == 1.0


# --- presets


def test_the_presets_start_where_safe_latent_diffusion_warms_up():
    contexts = {name: PRESETS[name].start_percent for name in ("gentle", "balanced", "strict", "maximum")}
    assert contexts == {"gentle": 0.30, "balanced": 0.20, "strict": 0.14, "maximum": 0.0}
    assert DEFAULT_PRESET in PRESETS and CUSTOM not in PRESETS
    for name in contexts:
        assert {PRESETS[name].curve(p / 10) for p in range(11)} == {1.0}


def test_no_preset_is_ever_zero():
    for schedule in PRESETS.values():
        assert min(schedule.curve(p / 1000) for p in range(1001)) >= 0.2


def test_the_shaped_presets_have_the_shape_of_their_name():
    at = {name: [PRESETS[name].curve(p / 10) for p in range(2, 11)] for name in ("ramp up", "ramp down", "bell")}
    assert at["ramp up"] == sorted(at["ramp up"]) and at["ramp up"][-1] == 1.0 > at["ramp up"][0]
    assert at["ramp down"] == sorted(at["ramp down"], reverse=True) and at["ramp down"][0] == 1.0
    assert max(at["bell"]) == at["bell"][4] == 1.0 and at["bell"][0] == at["bell"][-1] == 0.2
    assert at["bell"] == pytest.approx(at["bell"][::-1])


def test_custom_reads_curve_and_context_and_the_other_presets_ignore_both():
    curve = {"points": [[0, 0.5], [1, 0.5]]}
    custom = from_preset(CUSTOM, 0.6, "steps", curve)
    assert (custom.curve(0.3), custom.start_percent, custom.axis) == (0.5, 0.6, "steps")
    assert {(each.start_shift, each.exponent) for each in (custom, *PRESETS.values())} == {(START_SHIFT, EXPONENT)}
    for name, preset in PRESETS.items():
        for ignored in (None, curve, "rubbish {"):
            assert from_preset(name, math.nan, "steps", ignored) == dataclasses.replace(preset, axis="steps")


def test_custom_without_a_curve_and_unknown_presets_say_what_to_do():
    with pytest.raises(ValueError, match='^curve: expected a curve for the preset "custom".*choose another preset'):
        from_preset(CUSTOM, 0.2, "steps")
    with pytest.raises(ValueError, match="^preset: unknown preset 'Balanced'. Use one of gentle, .*, custom"):
        from_preset("Balanced", 0.2, "steps")
    with pytest.raises(ValueError, match="^axis: "):
        from_preset("gentle", 0.2, "sigma")
