"""The page's reading of a typed curve (js/editor.js) against Python's: no text may act as another curve."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from safelight.schedule import WeightSchedule

EDITOR = Path(__file__).resolve().parents[2] / "js" / "editor.js"
NODE = shutil.which("node")
SCRIPT = """
import { readFileSync } from "node:fs"
const source = readFileSync(process.argv[1], "utf8")
const { readCurve, writeCurve } = await import("data:text/javascript," + encodeURIComponent(source))
const texts = JSON.parse(readFileSync(0, "utf8"))
const answers = texts.map((text) => ({ ...readCurve(text), again: readCurve(writeCurve(readCurve(text).value)).value }))
console.log(JSON.stringify(answers))
"""
GOOD = [
    '{"points": [[0, 1], [1, 1]], "interpolation": "linear"}',
    ' {"points":\n [[0, 0], [0.25, 1e-1], [1, 1]]}\n',
    "[[0, 0.5], [1, 1]]",
    '{"points": [[1, 1], [0, 0.5]], "interpolation": "step", "context": 0.4}',
]
BAD = [
    "", "  ", "{", "[[0, 1], [1, 1]", '{"points": [[0, 1], [1, 1]],}', "NaN", "[[0, NaN], [1, 1]]", "5", "null", '"x"',
    "{}", "[]", "[3, 0]", '["4", 0]', "[[0, 1]]", "[[0, 1], [1, 2]]", "[[0, 1], [1, null]]",
    '{"points": "[[0,1],[1,1]]"}',
]  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    if NODE is None:
        pytest.skip("no node on this machine")
    command = [NODE, "--input-type=module", "--eval", SCRIPT, str(EDITOR)]
    texts = [*GOOD, *BAD]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=60)
    return dict(zip(texts, json.loads(done.stdout), strict=True))


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
