"""When, and how strongly, the safe conditioning steers: the weight schedule.

The weight of the safe branch at progress p is ``w(p) = safety**exponent * curve(p)`` from
``start_percent + start_shift * (1 - safety)`` on and 0 before it. The start is what the node calls `context`, the
global-context threshold: until then the positive prompt steers alone, and layout, colour and composition settle. A
lower slider also starts later: for the same effect that keeps more of the picture than a smaller weight alone, and an
exponent below 1 makes up for the strength that it takes. The presets' starts are the warm-ups of Safe Latent Diffusion
(Schramowski et al., CVPR 2023, arXiv 2211.05105, delta = 15, 10, 7, 0 of 50 steps).

Monotone cubic interpolation is the Hermite form of F. N. Fritsch and R. E. Carlson, "Monotone Piecewise Cubic
Interpolation", SIAM J. Numer. Anal. 17 (1980): tangents are the means of the neighbouring secants, zero at an extremum,
and are shortened to the circle of radius 3. ComfyUI evaluates its CURVE values in the same way.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from safelight.checks import shortened, unit_number
from safelight.guidance.blend import LEAST_WEIGHT

INTERPOLATIONS = ("linear", "monotone_cubic", "step")
AXES = ("noise level", "steps")
CUSTOM = "custom"
DEFAULT_PRESET = "balanced"

# What the host assumes of a curve value that does not say how it is interpolated.
HOST_INTERPOLATION = "monotone_cubic"
# Samples taken of a host curve that is not defined by control points.
RESAMPLED = 257

Point = tuple[float, float]


@dataclass(frozen=True)
class WeightSchedule:
    """A curve over progress, the progress at which it starts to act, and the axis on which progress is measured.

    points: (progress, height) pairs, both in [0, 1], at least two; kept sorted by progress, no two at the same one.
    interpolation: one of INTERPOLATIONS. "step" holds a point's height until the next point.
    start_percent: progress in [0, 1] before which the weight is 0 at safety 1.
    start_shift: by how much later it starts at safety 0; in proportion between.
    exponent: of the slider, in [0, 1]; 1 is the slider itself.
    axis: one of AXES, see safelight.guidance.progress.

    Raises ValueError, naming the input, for anything else, and for a curve that is zero from the start on: such a
    schedule would guard nothing.
    """

    points: tuple[Point, ...]
    interpolation: str = "linear"
    start_percent: float = 0.2
    axis: str = "noise level"
    start_shift: float = 0.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _read_points(self.points))
        object.__setattr__(self, "start_percent", unit_number("context", self.start_percent))
        object.__setattr__(self, "start_shift", unit_number("later", self.start_shift))
        object.__setattr__(self, "exponent", unit_number("gamma", self.exponent))
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"curve: unknown interpolation {shortened(self.interpolation)}. Use one of {', '.join(INTERPOLATIONS)}."
            )
        if self.axis not in AXES:
            raise ValueError(f"axis: unknown axis {shortened(self.axis)}. Use one of {', '.join(AXES)}.")
        most = max(y for _, y in self.points)
        if most < LEAST_WEIGHT:
            raise ValueError(
                f"curve: expected a height above 0 somewhere, got {most:g} at most, so nothing would be guarded. Raise "
                "at least one point."
            )
        most = max(self.curve(self.start_percent), *(y for x, y in self.points if x > self.start_percent), 0.0)
        if most < LEAST_WEIGHT:
            raise ValueError(
                f"curve: expected a height above 0 from context {self.start_percent:g} on, got {most:g}, so nothing "
                "would be guarded. Raise the curve there or lower context."
            )

    @cached_property
    def _xs(self) -> list[float]:
        return [x for x, _ in self.points]

    @cached_property
    def _tangents(self) -> list[float]:
        """Slope of the monotone cubic at each point."""
        secants = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in zip(self.points, self.points[1:], strict=False)]
        tangents = [secants[0]]
        tangents += [a / 2 + b / 2 if a * b > 0 else 0.0 for a, b in zip(secants, secants[1:], strict=False)]
        tangents.append(secants[-1])
        # Left to right: a segment sees its left tangent as the segment before it has left it.
        for i, secant in enumerate(secants):
            # No tangent is divided by the secant, which may be too small for that.
            radius, size = 3 * abs(secant), math.hypot(tangents[i], tangents[i + 1])
            if size > radius:
                tangents[i] *= radius / size
                tangents[i + 1] *= radius / size
        return tangents

    def curve(self, p: float) -> float:
        """Height of the curve at progress p, in [0, 1]; the end points' heights outside them."""
        if math.isnan(p):
            raise ValueError(
                "sigmas: expected numbers, got NaN in this run's noise schedule. Choose another scheduler."
            )
        i = bisect_right(self._xs, p) - 1
        if i < 0:
            return self.points[0][1]
        x0, y0 = self.points[i]
        if self.interpolation == "step" or i == len(self.points) - 1:
            return y0
        x1, y1 = self.points[i + 1]
        width = x1 - x0
        t = (p - x0) / width
        if self.interpolation == "linear":
            height = y0 + t * (y1 - y0)
        else:
            t2, t3 = t * t, t * t * t
            m0, m1 = self._tangents[i], self._tangents[i + 1]
            height = (
                (2 * t3 - 3 * t2 + 1) * y0
                + (t3 - 2 * t2 + t) * width * m0
                + (3 * t2 - 2 * t3) * y1
                + (t3 - t2) * width * m1
            )
        return min(max(height, 0.0), 1.0)

    def begins(self, safety: float) -> float:
        """The progress from which on the safe branch takes part at this place of the slider."""
        shift = self.start_shift * (1.0 - unit_number("safety", safety))
        # A sum is rounded, so that a step that starts just there takes part.
        return min(round(self.start_percent + shift, 9), 1.0) if shift else self.start_percent

    def strength(self, safety: float) -> float:
        """The weight at this place of the slider where the curve is 1."""
        safety = unit_number("safety", safety)
        return safety**self.exponent if safety else 0.0

    def weight(self, p: float, safety: float, start_percent: float | None = None) -> float:
        """Weight of the safe branch at progress p: strength * curve(p) from `begins` on, 0 before.

        start_percent: in the place of `begins`, the clamped one of safelight.guidance.progress.clamp_start.
        """
        height = self.curve(p)  # refuses a p that is not a number, which no comparison would
        start = self.begins(safety) if start_percent is None else start_percent
        return self.strength(safety) * height if p >= start else 0.0

    def mean(self, lo: float, hi: float) -> float:
        """Mean height of the curve over [lo, hi], exact; the height at lo where lo equals hi."""
        if not lo <= hi:
            raise ValueError(
                f"curve: expected the ends of [{lo}, {hi}] in order for its mean. Give the lower one first."
            )
        if lo == hi:
            return self.curve(lo)
        knots = [lo, *(x for x in self._xs if lo < x < hi), hi]
        area = 0.0
        for a, b in zip(knots, knots[1:], strict=False):
            # Two Gauss points integrate a cubic exactly and stay inside the segment, off the jumps of "step".
            middle, reach = (a + b) / 2, (b - a) / (2 * math.sqrt(3))
            area += (b - a) * (self.curve(middle - reach) + self.curve(middle + reach)) / 2
        return min(area / (hi - lo), 1.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, read back by from_value. Its keys are part of saved reports."""
        values = {key: getattr(self, name) for key, name in _SAVED_AS.items()}
        return {"points": [[x, y] for x, y in self.points], "interpolation": self.interpolation, **values}

    @classmethod
    def from_value(cls, value: Any, start_percent: float | None = None, axis: str | None = None) -> WeightSchedule:
        """A schedule from whatever stands for a curve.

        value: a WeightSchedule; a dict {"points": [[x, y], ...], "interpolation": ...} with, optionally, "context",
            "axis", "later" and "gamma"; a list of pairs; the host's curve object; JSON text of any of them; the same in
            the host's wrappers {"__value__": ...} and {"__type__": "CURVE", "__value__": ...}. Where no interpolation
            is given it is the host's default, monotone cubic.
        start_percent, axis: replace the value's own where not None.

        Raises ValueError, naming the input.
        """
        given: dict[str, Any] = {}
        if start_percent is not None:
            given["start_percent"] = start_percent
        if axis is not None:
            given["axis"] = axis
        if isinstance(value, cls):
            return replace(value, **given)
        if isinstance(value, str):
            value = _parse(value)
        while isinstance(value, Mapping) and "__value__" in value:
            if value.get("__type__", "CURVE") != "CURVE":
                raise ValueError(
                    f"curve: expected a CURVE, got a value of type {shortened(value['__type__'])}. Connect a CURVE."
                )
            value = value["__value__"]
        if isinstance(value, Mapping):
            if "points" not in value:
                raise ValueError(
                    f"curve: expected points, got an object with {shortened(sorted(map(str, value)))}. Give it "
                    '"points", a list of [progress, height] pairs.'
                )
            saved = {name: value[key] for key, name in _SAVED_AS.items() if key in value}
            return cls(value["points"], value.get("interpolation", HOST_INTERPOLATION), **{**saved, **given})
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return cls(value, HOST_INTERPOLATION, **given)  # type: ignore[arg-type]
        if hasattr(value, "points") or hasattr(value, "interp"):
            return _read_host_curve(cls, value, given)
        raise ValueError(
            f"curve: expected a curve, got {shortened(value)}. Give an object with points and interpolation, or a list "
            "of pairs."
        )


# The names of a saved schedule's keys, which are older than the attributes'.
_SAVED_AS = {"context": "start_percent", "axis": "axis", "later": "start_shift", "gamma": "exponent"}


def from_preset(preset: str, context: float, axis: str, curve: Any = None) -> WeightSchedule:
    """The schedule of the SafelightWeightSchedule node.

    "custom" reads `curve` (anything WeightSchedule.from_value reads) and `context`; every other preset brings its own
    and ignores both. `axis` holds for all of them, and so do START_SHIFT and EXPONENT: an edited preset stays what it
    was in the rest.
    """
    if preset == CUSTOM:
        if curve is None:
            raise ValueError(
                'curve: expected a curve for the preset "custom", got none. Connect a curve or choose another preset.'
            )
        schedule = WeightSchedule.from_value(curve, start_percent=unit_number("context", context))
        return replace(schedule, axis=axis, start_shift=START_SHIFT, exponent=EXPONENT)
    if preset not in PRESETS:
        raise ValueError(f"preset: unknown preset {shortened(preset)}. Use one of {', '.join([*PRESETS, CUSTOM])}.")
    return replace(PRESETS[preset], axis=axis)


def _parse(text: str) -> Any:
    if not text.strip():
        raise ValueError('curve: expected JSON, got an empty text. Write for example {"points": [[0, 1], [1, 1]]}.')
    if text.startswith("{'"):
        text = text.replace("'", '"')  # how the host writes an object that a prompt holds in the place of text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"curve: expected JSON, got a fault at line {error.lineno}, column {error.colno}: {error.msg} (in "
            f"{shortened(text)}). Mend the text there."
        ) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits, thousands of brackets
        raise ValueError(
            f"curve: expected JSON, got a text that can't be read: {error}. Write a shorter one."
        ) from error


def _read_points(points: Any) -> tuple[Point, ...]:
    if isinstance(points, (str, bytes, Mapping)) or not hasattr(points, "__iter__"):
        raise ValueError(f"curve: expected a list of points, got {shortened(points)}. Give [progress, height] pairs.")
    read: list[Point] = []
    for number, point in enumerate(points, start=1):
        if isinstance(point, (str, bytes, Mapping)) or not hasattr(point, "__len__") or len(point) != 2:
            raise ValueError(
                f"curve: expected a pair [progress, height] for point {number}, got {shortened(point)}. Mend it."
            )
        x, y = point
        read.append(
            (unit_number(f"curve: progress of point {number}", x), unit_number(f"curve: height of point {number}", y))
        )
    if len(read) < 2:
        raise ValueError(f"curve: expected at least two points, got {len(read)}. Add points.")
    read.sort(key=lambda point: point[0])
    for (x0, y0), (x1, y1) in zip(read, read[1:], strict=False):
        if x0 == x1:
            raise ValueError(
                f"curve: two points stand at progress {x0:g} (heights {y0:g} and {y1:g}). Move or remove one of them."
            )
        if not math.isfinite((y1 - y0) / (x1 - x0)):
            raise ValueError(f"curve: two points at progress {x0:g} are too close. Move or remove one of them.")
    return tuple(read)


def _read_host_curve(cls: type[WeightSchedule], value: Any, given: dict[str, Any]) -> WeightSchedule:
    """A host curve object (duck-typed): by its control points where they explain it, else by samples of it."""
    interp: Callable[[float], float] | None = getattr(value, "interp", None)
    if hasattr(value, "points"):
        if interp is None:
            return cls(value.points, getattr(value, "interpolation", HOST_INTERPOLATION), **given)
        for interpolation in INTERPOLATIONS:
            schedule = cls(value.points, interpolation, **given)
            if all(
                abs(schedule.curve(x0 + part * (x1 - x0)) - interp(x0 + part * (x1 - x0))) < 1e-6
                for (x0, _), (x1, _) in zip(schedule.points, schedule.points[1:], strict=False)
                for part in (0.25, 0.5, 0.75)
            ):
                return schedule
    assert interp is not None
    grid = [i / (RESAMPLED - 1) for i in range(RESAMPLED)]
    return cls(tuple((x, float(interp(x))) for x in grid), "linear", **given)


_FULL: tuple[Point, ...] = ((0.0, 1.0), (1.0, 1.0))

# Those with which the places of the slider act most evenly: .25, .5, .75 and 1 leave 74, 48, 19 and 8 % of 85 % with
# something unsafe; a shift of .4 leaves 36 % at .75, with as many of the layouts. At one start the weight itself
# changes little. On 80 prompts of the demo world, none of bench safety's.
START_SHIFT = 0.2
EXPONENT = 0.5


def _preset(points: tuple[Point, ...], start_percent: float, interpolation: str = "linear") -> WeightSchedule:
    return WeightSchedule(points, interpolation, start_percent, start_shift=START_SHIFT, exponent=EXPONENT)


# The shapes stay above zero everywhere, so that a run of a single step is guarded by each of them.
PRESETS: dict[str, WeightSchedule] = {
    "gentle": _preset(_FULL, 0.30),
    "balanced": _preset(_FULL, 0.20),
    "strict": _preset(_FULL, 0.14),
    "maximum": _preset(_FULL, 0.0),
    "ramp up": _preset(((0.2, 0.2), (1.0, 1.0)), 0.20),
    "ramp down": _preset(((0.2, 1.0), (1.0, 0.2)), 0.20),
    "bell": _preset(((0.2, 0.2), (0.6, 1.0), (1.0, 0.2)), 0.20, "monotone_cubic"),
}

# With a detector, where none is linked. What does not pass at a level goes on, so a level may begin late. From there on
# the safe prompt decides alone: at the same start that showed less of what is unsafe than both prompts together, and
# fewer hybrids, for the rows of a plain run (80 prompts of the demo world, none of bench safety's).
LOOKING = WeightSchedule(_FULL, start_percent=0.1, start_shift=0.6, exponent=0.0)
