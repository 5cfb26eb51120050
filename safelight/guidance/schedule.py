"""When, and how strongly, the safe conditioning steers: the weight schedule.

The weight of the safe branch at progress p is ``w(p) = safety**gamma * curve(p)`` from
``context + later * (1 - safety)`` on and 0 before it. `context` is the global-context threshold: until then the prompt
as written steers alone, and layout, colour and composition settle. A lower slider also begins `later`: for the same
effect that keeps more of the picture than a smaller weight alone, and a `gamma` below 1 makes up for the strength that
it takes. The presets' contexts are the warm-ups of Safe Latent Diffusion (Schramowski et al., CVPR 2023, arXiv
2211.05105, delta = 15, 10, 7, 0 of 50 steps).

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
    context: progress in [0, 1] before which the weight is 0 at safety 1.
    later: by how much later it begins at safety 0; in proportion between.
    gamma: of the slider, in [0, 1]; 1 is the slider itself.
    axis: one of AXES, see safelight.progress.

    Raises ValueError, naming the fault, for anything else, and for a curve that is zero from `context` on: such a
    schedule would guard nothing.
    """

    points: tuple[Point, ...]
    interpolation: str = "linear"
    context: float = 0.2
    axis: str = "noise level"
    later: float = 0.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", _read_points(self.points))
        object.__setattr__(self, "context", unit_number("context", self.context))
        object.__setattr__(self, "later", unit_number("later", self.later))
        object.__setattr__(self, "gamma", unit_number("gamma", self.gamma))
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"curve: unknown interpolation {shortened(self.interpolation)}; use one of {', '.join(INTERPOLATIONS)}."
            )
        if self.axis not in AXES:
            raise ValueError(f"axis: unknown axis {shortened(self.axis)}; use one of {', '.join(AXES)}.")
        if all(y == 0.0 for _, y in self.points):
            raise ValueError("curve: it is zero everywhere, so nothing would be guarded; raise at least one point.")
        if self.curve(self.context) == 0.0 and all(y == 0.0 for x, y in self.points if x > self.context):
            raise ValueError(
                f"curve: it is zero from context {self.context:g} on, so nothing would be guarded; "
                "raise the curve there or lower context."
            )

    @cached_property
    def _xs(self) -> list[float]:
        return [x for x, _ in self.points]

    @cached_property
    def _tangents(self) -> list[float]:
        """Slope of the monotone cubic at each point."""
        secants = [(y1 - y0) / (x1 - x0) for (x0, y0), (x1, y1) in zip(self.points, self.points[1:], strict=False)]
        tangents = [secants[0]]
        tangents += [(a + b) / 2 if a * b > 0 else 0.0 for a, b in zip(secants, secants[1:], strict=False)]
        tangents.append(secants[-1])
        # Left to right: a segment sees its left tangent as the segment before it has left it.
        for i, secant in enumerate(secants):
            if secant == 0.0:
                continue  # the tangents at both ends of a flat segment are 0 already
            left, right = tangents[i] / secant, tangents[i + 1] / secant
            square = left * left + right * right
            if square > 9:
                shorten = 3 / math.sqrt(square)
                tangents[i] = shorten * left * secant
                tangents[i + 1] = shorten * right * secant
        return tangents

    def curve(self, p: float) -> float:
        """Height of the curve at progress p, in [0, 1]; the end points' heights outside them."""
        if math.isnan(p):
            raise ValueError("progress: it is not a number; the noise schedule of this run cannot be read.")
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
        later = self.later * (1.0 - unit_number("safety", safety))
        # A sum is rounded, so that a step that starts just there takes part.
        return min(round(self.context + later, 9), 1.0) if later else self.context

    def strength(self, safety: float) -> float:
        """The weight at this place of the slider where the curve is 1."""
        safety = unit_number("safety", safety)
        return safety**self.gamma if safety else 0.0

    def weight(self, p: float, safety: float, context: float | None = None) -> float:
        """Weight of the safe branch at progress p: strength * curve(p) from `begins` on, 0 before.

        `context` replaces that: the clamped one of safelight.progress.guard.
        """
        height = self.curve(p)
        return self.strength(safety) * height if p >= (self.begins(safety) if context is None else context) else 0.0

    def mean(self, lo: float, hi: float) -> float:
        """Mean height of the curve over [lo, hi], exact; the height at lo where lo equals hi."""
        if not lo <= hi:
            raise ValueError(f"curve: no mean over [{lo}, {hi}], its ends are in the wrong order.")
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
        """JSON form, read back by from_value."""
        return {
            "points": [[x, y] for x, y in self.points],
            "interpolation": self.interpolation,
            "context": self.context,
            "axis": self.axis,
            "later": self.later,
            "gamma": self.gamma,
        }

    @classmethod
    def from_value(cls, value: Any, context: float | None = None, axis: str | None = None) -> WeightSchedule:
        """A schedule from whatever stands for a curve.

        value: a WeightSchedule; a dict {"points": [[x, y], ...], "interpolation": ...} with, optionally, "context",
            "axis", "later" and "gamma"; a list of pairs; the host's curve object; JSON text of any of them; the same in
            the host's wrappers {"__value__": ...} and {"__type__": "CURVE", "__value__": ...}. Where no interpolation
            is given it is the host's default, monotone cubic.
        context, axis: replace the value's own where not None.

        Raises ValueError naming the fault.
        """
        given: dict[str, Any] = {}
        if context is not None:
            given["context"] = context
        if axis is not None:
            given["axis"] = axis
        if isinstance(value, cls):
            return replace(value, **given)
        if isinstance(value, str):
            value = _parse(value)
        while isinstance(value, Mapping) and "__value__" in value:
            if value.get("__type__", "CURVE") != "CURVE":
                raise ValueError(f"curve: got a value of type {shortened(value['__type__'])}; connect a CURVE.")
            value = value["__value__"]
        if isinstance(value, Mapping):
            if "points" not in value:
                raise ValueError(f"curve: it has no points (it has {shortened(sorted(map(str, value)))}).")
            own = {key: value[key] for key in ("context", "axis", "later", "gamma") if key in value}
            return cls(value["points"], value.get("interpolation", HOST_INTERPOLATION), **{**own, **given})
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            return cls(value, HOST_INTERPOLATION, **given)  # type: ignore[arg-type]
        if hasattr(value, "points") or hasattr(value, "interp"):
            return _read_host_curve(cls, value, given)
        raise ValueError(
            f"curve: cannot read {shortened(value)}; give an object with points and interpolation, or a list of pairs."
        )


def from_preset(preset: str, context: float, axis: str, curve: Any = None) -> WeightSchedule:
    """The schedule of the SafelightWeightSchedule node.

    "custom" reads `curve` (anything WeightSchedule.from_value reads) and `context`; every other preset brings its own
    and ignores both. `axis` holds for all of them, and so do LATER and GAMMA: an edited preset stays what it was in
    the rest.
    """
    if preset == CUSTOM:
        if curve is None:
            raise ValueError(
                'curve: preset "custom" needs a curve and none is connected; connect a curve or choose another preset.'
            )
        return replace(WeightSchedule.from_value(curve, context=context, axis=axis), later=LATER, gamma=GAMMA)
    if preset not in PRESETS:
        raise ValueError(f"preset: unknown preset {shortened(preset)}; use one of {', '.join([*PRESETS, CUSTOM])}.")
    return replace(PRESETS[preset], axis=axis)


def _parse(text: str) -> Any:
    if not text.strip():
        raise ValueError('curve: the text is empty; write for example {"points": [[0, 1], [1, 1]]}.')
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"curve: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg} (in {shortened(text)})."
        ) from error
    except (ValueError, RecursionError) as error:  # a number with too many digits, thousands of brackets
        raise ValueError(f"curve: not readable as JSON: {error}.") from error


def _read_points(points: Any) -> tuple[Point, ...]:
    if isinstance(points, (str, bytes, Mapping)) or not hasattr(points, "__iter__"):
        raise ValueError(f"curve: its points are {shortened(points)}; give a list of [progress, height] pairs.")
    read: list[Point] = []
    for number, point in enumerate(points, start=1):
        if isinstance(point, (str, bytes, Mapping)) or not hasattr(point, "__len__") or len(point) != 2:
            raise ValueError(f"curve: point {number} is {shortened(point)}; a point is a pair [progress, height].")
        x, y = point
        read.append(
            (unit_number(f"curve: progress of point {number}", x), unit_number(f"curve: height of point {number}", y))
        )
    if len(read) < 2:
        raise ValueError(f"curve: it has {len(read)} point{'' if len(read) == 1 else 's'}; it needs at least two.")
    read.sort(key=lambda point: point[0])
    for (x0, y0), (x1, y1) in zip(read, read[1:], strict=False):
        if x0 == x1:
            raise ValueError(
                f"curve: two points at progress {x0:g} (heights {y0:g} and {y1:g}); move or remove one of them."
            )
        if not math.isfinite((y1 - y0) / (x1 - x0)):
            raise ValueError(f"curve: two points at progress {x0:g} are too close; move or remove one of them.")
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

# Of 0.2, 0.3 and 0.4, and of the slider and its root, those with which every place of the slider lay nearest to the
# front of unsafe seen against layout kept and distance, a later context at safety 1 among the others, and with which it
# acted most evenly: 160 prompts of the demo world, none of bench safety's.
LATER = 0.4
GAMMA = 0.5


def _preset(points: tuple[Point, ...], context: float, interpolation: str = "linear") -> WeightSchedule:
    return WeightSchedule(points, interpolation, context, later=LATER, gamma=GAMMA)


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
