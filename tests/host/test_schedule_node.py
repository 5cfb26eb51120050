"""SafelightWeightSchedule: what it makes of its widgets, of links, and of what it cannot read."""

import json
import math

import host
import pytest

from safelight.guidance.schedule import PRESETS

CURVE = {"points": [[0.2, 0.5], [1.0, 1.0]], "interpolation": "linear"}


@pytest.fixture(scope="module")
def node(pack):
    return pack.nodes["SafelightWeightSchedule"]


def defaults(node):
    sections = node.INPUT_TYPES()
    inputs = {**sections["required"], **sections["optional"]}
    return {name: declared[1]["default"] for name, declared in inputs.items() if "default" in declared[1]}


def test_every_preset_gives_a_schedule_with_and_without_a_curve(node, pack):
    given = defaults(node)
    offered = node.INPUT_TYPES()["required"]["preset"][0]
    assert offered == [*PRESETS, "custom"]
    for preset in offered:
        (schedule,) = host.call(node, **{**given, "preset": preset})
        assert host.validation_errors(node, **{**given, "preset": preset}) == []
        if preset != "custom":
            assert schedule == PRESETS[preset]
            (bare,) = host.call(node, preset=preset, context=given["context"], axis=given["axis"])
            assert bare == schedule


def test_a_curve_acts_in_every_form_in_which_it_can_arrive(node, pack):
    """As text, from files that an older page saved, and as text that a host makes of an object in a prompt."""
    wrapped = [{"__value__": CURVE}, {"__type__": "CURVE", "__value__": CURVE}]
    forms = [json.dumps(CURVE), CURVE, *wrapped, str(CURVE), *map(str, wrapped)]
    made = [host.call(node, preset="custom", context=0.3, axis="steps", curve=form)[0] for form in forms]
    assert made == [made[0]] * len(forms)
    assert (made[0].curve(0.6), made[0].start_percent, made[0].axis) == (0.75, 0.3, "steps")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"curve": '{"points": [[0, 1], [1'}, "curve: expected JSON, got a fault at line 1"),
        ({"curve": ""}, "curve: expected JSON, got an empty text"),
        ({"curve": 5}, "curve: expected a curve, got 5"),
        ({"curve": {"points": [[0, 0], [1, 0]]}}, "curve: expected a height above 0 somewhere"),
        (
            {"curve": {"points": [[0, math.nan], [1, 1]]}},
            "curve: height of point 1: expected a finite number from 0 to 1, got nan",
        ),
        ({"curve": CURVE, "context": math.nan}, "context: expected a finite number from 0 to 1, got nan"),
        ({"curve": CURVE, "axis": "time"}, "axis: unknown axis 'time'"),
        ({"curve": CURVE, "preset": "brutal"}, "preset: unknown preset 'brutal'"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_input(node, given, named):
    with pytest.raises(ValueError) as error:
        host.call(node, **{**defaults(node), "preset": "custom", **given})
    assert named in str(error.value)


@pytest.mark.parametrize(("name", "value"), [("preset", "brutal"), ("axis", "time"), ("context", -0.5), ("context", 2)])
def test_a_widgets_value_that_the_node_does_not_offer_stops_the_prompt(node, name, value):
    errors = host.validation_errors(node, **{**defaults(node), "preset": "custom", name: value})
    assert [key for key, _ in errors] == [name]


def test_without_a_curve_custom_is_the_one_that_its_widget_shows(node):
    given = {"preset": "custom", "context": 0.2, "axis": "steps"}
    (schedule,) = host.call(node, **given)
    assert schedule == host.call(node, **given, curve=defaults(node)["curve"])[0]
    assert schedule.points == ((0.0, 1.0), (1.0, 1.0))


def test_a_linked_curve_goes_before_the_text_and_is_judged_when_it_runs(node):
    given = {"preset": "custom", "context": 0.2, "axis": "steps"}
    (schedule,) = host.call(node, **given, curve="{oops", curve_editor=CURVE)
    assert schedule.points == ((0.2, 0.5), (1.0, 1.0))
    with pytest.raises(ValueError, match="^curve_editor: expected at least two points"):
        host.call(node, **given, curve_editor={**CURVE, "points": [[0, 1]]})
    with pytest.raises(ValueError, match="^context: "):
        host.call(node, **{**given, "context": 2}, curve_editor=CURVE)
