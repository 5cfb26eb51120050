"""A curve drawn in the host's own Curve Editor acts here exactly as the host evaluates it."""

import importlib
import random

import host
import pytest

from safelight.guidance import schedule

try:
    curves = importlib.import_module("comfy_api.latest._input.curve_types")
except ModuleNotFoundError:
    curves = None


def random_points(draw):
    xs = sorted(draw.sample(range(10001), draw.randint(2, 10)))
    points = [(x / 10000, draw.choice([0.0, 1.0, draw.random()])) for x in xs]
    return [*points[:-1], (points[-1][0], max(points[-1][1], 0.01))]


@pytest.mark.parametrize("interpolation", ["linear", "monotone_cubic"])
def test_curve_equals_the_hosts(interpolation):
    host.require(curves, "curve type")
    draw = random.Random(0)
    for _ in range(300):
        points = random_points(draw)
        theirs = curves.CurveInput.from_raw({"points": points, "interpolation": interpolation})
        ours = schedule.WeightSchedule(points, interpolation, start_percent=0.0)
        for p in [-0.5, 0.0, 1.0, 1.5, *(x for x, _ in points), *(draw.random() for _ in range(40))]:
            assert ours.curve(p) == pytest.approx(theirs.interp(p), abs=1e-12), (points, p)


def test_a_linked_host_curve_is_taken_over_exactly():
    host.require(curves, "curve type")
    draw = random.Random(1)
    for _ in range(50):
        points = random_points(draw)
        for interpolation in ("linear", "monotone_cubic"):
            theirs = curves.CurveInput.from_raw({"points": points, "interpolation": interpolation})
            read = schedule.WeightSchedule.from_value(theirs, start_percent=0.0)
            assert [read.curve(p / 97) for p in range(98)] == pytest.approx(
                [theirs.interp(p / 97) for p in range(98)], abs=1e-6
            )
            assert read.points == tuple(points)


def test_a_value_without_interpolation_means_what_the_host_means_by_it():
    host.require(curves, "curve type")
    points = [(0.0, 0.0), (0.5, 1.0), (1.0, 0.2)]
    for value in (points, {"points": points}):
        theirs = curves.CurveInput.from_raw(value)
        assert schedule.WeightSchedule.from_value(value).curve(0.3) == pytest.approx(theirs.interp(0.3), abs=1e-12)
