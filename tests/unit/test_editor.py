"""The page's reading of a curve (js/schedule) and its presets against Python's: none may act as another curve."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from safelight.guidance.schedule import AXES, CUSTOM, DEFAULT_PRESET, INTERPOLATIONS, PRESETS, WeightSchedule

PAGE = Path(__file__).resolve().parents[2] / "js"
NODE = shutil.which("node")
SCRIPT = """
const [{ readCurve }, curve] = await Promise.all(process.argv.slice(1).map((file) => import(file)))
let given = ""
for await (const part of process.stdin) given += part
const read = ({ value, fault }) => ({ value, fault })
const answers = JSON.parse(given).map((text) =>
  ({ ...read(readCurve(text)), again: readCurve(readCurve(text).value).value }))
console.log(JSON.stringify({ answers, ...curve }))
"""
GOOD = [
    '{"points": [[0, 1], [1, 1]], "interpolation": "linear"}',
    ' {"points":\n [[0, 0], [0.25, 1e-1], [1, 1]]}\n',
    "[[0, 0.5], [1, 1]]",
    '{"points": [[1, 1], [0, 0.5]], "interpolation": "step", "context": 0.4}',
    '{"__type__": "CURVE", "__value__": {"points": [[0, 0.5], [1, 1]]}}',
    '{"__value__": [[0, 0.5], [1, 1]]}',
]
BAD = [
    "",
    "  ",
    "{",
    "[[0, 1], [1, 1]",
    '{"points": [[0, 1], [1, 1]],}',
    "NaN",
    "[[0, NaN], [1, 1]]",
    "5",
    "null",
    '"x"',
    "{}",
    "[]",
    "[3, 0]",
    '["4", 0]',
    "[[0, 1]]",
    "[[0, 1], [1, 2]]",
    "[[0, 1], [1, null]]",
    "[[0, true], [1, 1]]",
    '{"points": "[[0,1],[1,1]]"}',
    "[[0, 1], [0, 0.5], [1, 1]]",
    "[[0, 1], [5e-324, 0]]",
    '{"points": [[0, 1], [1, 1]], "interpolation": "spline"}',
    '{"points": [[0, 1], [1, 1]], "interpolation": null}',
    '{"__type__": "IMAGE", "__value__": {"points": [[0, 1], [1, 1]]}}',
]


@pytest.fixture(scope="module")
def page():
    if NODE is None:
        pytest.skip("no node on this machine")
    files = [(PAGE / "schedule" / name).as_uri() for name in ("curve_value.js", "curve.js")]
    command = [NODE, "--input-type=module", "--eval", SCRIPT, *files]
    given = json.dumps([*GOOD, *BAD])
    return json.loads(
        subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=60).stdout
    )


@pytest.fixture(scope="module")
def answers(page):
    return dict(zip([*GOOD, *BAD], page["answers"], strict=True))


@pytest.mark.parametrize("text", GOOD)
def test_a_curve_means_on_the_page_what_it_means_in_python(answers, text):
    assert answers[text]["fault"] == ""
    assert WeightSchedule.from_value(answers[text]["value"]) == WeightSchedule.from_value(text)
    assert answers[text]["again"] == answers[text]["value"]


@pytest.mark.parametrize("text", BAD)
def test_a_text_that_is_no_curve_is_shown_as_a_fault_and_refused_by_python(answers, text):
    assert answers[text]["fault"]
    with pytest.raises(ValueError, match="^curve: "):
        WeightSchedule.from_value(answers[text]["value"])


def test_no_value_sent_is_a_list_which_the_host_would_take_for_a_link(answers):
    assert not [text for text, answer in answers.items() if isinstance(answer["value"], list)]


def drawn_as(preset, slider):
    """The page's preset, whose start is called `context` there, as Python's."""
    return WeightSchedule(
        **{key: preset[key] for key in preset if key != "context"}, start_percent=preset["context"], **slider
    )


def test_the_page_draws_the_presets_that_python_runs(page):
    slider = {"start_shift": page["START_SHIFT"], "exponent": page["EXPONENT"]}
    drawn = {name: drawn_as(preset, slider) for name, preset in page["PRESETS"].items()}
    assert drawn == PRESETS
    assert list(drawn) == list(PRESETS)
    assert (page["INTERPOLATIONS"], page["AXES"]) == (list(INTERPOLATIONS), list(AXES))
    assert (page["CUSTOM"], page["DEFAULT_PRESET"]) == (CUSTOM, DEFAULT_PRESET)
