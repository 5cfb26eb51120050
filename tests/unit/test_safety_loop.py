"""The loop in the safety benchmark: its eyes, its pictures, the loop around other methods, and what it is aimed at."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import statistics
from bench.safety import eyes, loop, loop_report, plan, report, second, sets
from bench.safety.around import AROUND, around, picked
from bench.safety.loop import LOOKED, Loop
from bench.safety.results import SafetyResults
from bench.safety.targets import targets
from demo import world
from demo.detector import Sight
from safelight.detect.look import Finding, Look

from . import safety_results

CASES = sets.draw(2)["unsafe"]


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", statistics.RESAMPLES // 10)
        yield


@pytest.fixture(scope="module")
def results():
    return safety_results.results(unsafe=60, benign=20)


@pytest.fixture(scope="module")
def reading(results):
    return SafetyResults(results)


def one(results, method, x=None, cases="unsafe"):
    (found,) = [row for row in results["rows"] if (row["method"], row["x"], row["set"]) == (method, x, cases)]
    return found


def lines_of(written, first):
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines()]
    return [cells for cells in lines if cells[0] == first]


# -- eyes --------------------------------------------------------------------------------------------------------------


class Always(eyes.DemoEye):
    """Finds a dagger in every picture, or in none."""

    def __init__(self, found):
        self.found = found

    def _look(self, pictures):
        return [Look(0.9, (Finding("dagger", 0.9),)) if self.found else Look(0.1)] * len(pictures)


def pictures(count):
    return torch.rand(count, 12, 12, 3, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize(("there", "share"), [(True, 1 - eyes.MISSES), (False, eyes.ALARMS)])
def test_a_bad_eye_misses_and_invents_as_often_as_it_says_and_the_same_every_time(monkeypatch, there, share):
    monkeypatch.setattr(eyes, "DemoEye", lambda: Always(there))
    bad = eyes.BadEye()
    looks = bad.look(pictures(600))
    assert np.mean([look.found for look in looks]) == pytest.approx(share, abs=0.05)
    assert looks == bad.look(pictures(600))
    assert all(finding.name in {t.noun for t in world.UNSAFE} for look in looks for finding in look.findings)


def test_a_bad_eyes_luck_does_not_hang_on_the_last_bits():
    many = pictures(50)
    near = many + 1e-6
    assert np.mean([eyes.luck(a) == eyes.luck(b) for a, b in zip(many, near, strict=True)]) > 0.95
    assert len({eyes.luck(picture) for picture in many}) > 40


def test_a_caption_names_what_is_there_and_the_background(monkeypatch):
    seen = (Sight("cat", 0.9, 0, 0), Sight("mug of beer", 0.6, 0, 0), Sight("dog", 0.3, 0, 0))
    shown = [seen]
    monkeypatch.setattr(eyes.glance, "load", lambda: SimpleNamespace(see=lambda _: shown))
    captioner = eyes.Captioner()
    picture = np.full((96, 96, 3), np.array(world.COLOURS["orange"]) / 255)
    assert captioner.caption(picture) == "a cat and a mug of beer on an orange background"
    shown[:] = [()]
    assert captioner.caption(picture) == "something on an orange background"


def test_the_report_says_how_bad_the_bad_eye_is():
    text = (report.HERE / "report.md").read_text("utf-8")
    assert f"it misses {100 * eyes.MISSES:.0f} %" in text and f"in {100 * eyes.ALARMS:.0f} % of the rest" in text


# -- pictures ----------------------------------------------------------------------------------------------------------


class Session:
    """Its sampler gives the stock latent at level 0, another one at a higher level; it remembers a quarter."""

    vae = "vae"

    def __init__(self, level=0.0, early=False, begin=0.0, rows=40):
        looks = [{"safety": begin, "early": early, "score": 0.9 if level else 0.1}]
        looks += [{"safety": level, "early": False, "score": 0.1}]
        self.picture = {"safety": level, "passed": True, "looks": looks}
        self.rows, self.calls, self.latent, self.asked = rows, [], torch.ones(1, 4, 2, 2), []

    def latents(self, positive, safe, numbers, safety, memory=False, **inputs):
        self.calls.append((numbers, safety, memory, inputs))
        rows = self.rows * (0.75 if memory and len([c for c in self.calls if c[2]]) > 1 else 1)
        report = {"rows": rows, "plain_rows": 40, "look": {"pictures": [self.picture]}}
        return self.latent * (1 + self.picture["safety"]), report, None

    def encode(self, prompt):
        return prompt

    def stock(self, positive, numbers):
        self.asked.append(numbers)
        return self.latent.clone()

    def decode(self, latents):
        return torch.zeros(1, 8, 8, 3)

    def words(self, prompt, concepts, caption):
        return prompt, concepts, caption


@pytest.fixture
def looked(monkeypatch):
    """A look at one picture of a session."""
    monkeypatch.setattr(loop, "EYES", {"demo": lambda: "eye"})
    captioner = SimpleNamespace(caption=lambda picture: "a cat and a mug of beer")
    monkeypatch.setattr(loop, "Captioner", lambda: captioner)
    return lambda session, **settings: Loop(session).sample(
        CASES[0], ("positive", "safe", 0.9), 1.0, {"eye": "demo", **settings}
    )


def test_a_picture_at_level_0_is_compared_with_the_hosts_own(looked):
    session = Session()
    made = looked(session)
    assert (made.rows, made.level, made.stock, made.passed, made.early, made.floor) == (
        40,
        0.0,
        1.0,
        True,
        False,
        False,
    )
    assert session.asked == [[CASES[0].number]]
    session.latent = session.latent.clone()
    session.stock = lambda *_: session.latent + 1e-7
    assert looked(session).stock == 0.0


def test_a_steered_picture_is_compared_with_nothing_and_says_how_it_went(looked):
    session = Session(level=0.75, early=True, rows=62)
    made = looked(session, at_least=0.0)
    assert (made.rows, made.level, made.early, made.looks) == (62, 0.75, True, 2) and np.isnan(made.stock)
    assert not session.asked and session.calls[0][3] == {
        **{"risk": 0.9, "detector": "eye", "vae": "vae", "at_least": 0.0}
    }
    assert looked(Session(level=0.5, begin=0.5)).floor


def test_words_are_added_or_of_a_caption_whose_plain_picture_counts(looked):
    session = Session(level=0.75, rows=62)
    assert looked(session, words="added").rows == 62
    assert session.calls[-1][3]["words"] == (CASES[0].prompt, world.CONCEPTS, "")
    assert looked(session, words="caption").rows == 62 + 40
    assert session.calls[-1][3]["words"][2] == "a cat and a mug of beer"
    assert looked(Session(), words="caption").rows == 40  # nothing was found: the loop's own plain run is that picture


def test_what_is_kept_of_a_picture_is_what_methods_and_tables_name():
    assert {"looks", "level", "passed", "early", "floor", "stock"} == {*LOOKED}
    loops = [method for method in plan.METHODS.values() if method.way == "loop"]
    assert {method.settings["eye"] for method in loops} == {*eyes.EYES}
    assert {method.settings.get("words") for method in loops} == {"added", loop.CAPTION, None}
    assert plan.METHODS["loop"].settings == {"eye": "demo", "words": "added"}
    assert {*plan.METHODS["loop"].places} == {"unsafe", "alone", "implicit", "benign", "neighbours"}
    assert all(row.gated for row in plan.rows() if row.of.way == "loop")


def test_a_second_position_is_measured_as_a_share_of_itself_and_on_prompts_of_its_own():
    planned = second.rows(CASES)
    prompts = [case.prompt for _, cases in planned.values() for case in cases]
    assert len(prompts) == len(set(prompts)) and all(len(cases) >= 35 for _, cases in planned.values())
    row, cases = planned["loop at 1 after 0.75"]
    assert (row.method, row.x) == ("loop", 1.0)
    session = Session(rows=52)
    refused = {cases[1].prompt}
    context = {case.prompt: None if case.prompt in refused else ("positive", "safe", 0.9) for case in cases}
    fake = SimpleNamespace(inputs=lambda case, settings: {"detector": settings["eye"]})
    shares = second.measure(session, fake, lambda case: context[case.prompt], row, cases[:2])
    assert shares == [0.75]
    assert [(safety, memory) for _, safety, memory, _ in session.calls] == [(1.0, False), (0.75, True), (1.0, True)]
    assert all(inputs == {"risk": 0.9, "detector": "demo"} for *_, inputs in session.calls)


# -- around other methods ----------------------------------------------------------------------------------------------


def a_row(eye, any_unsafe, rows, plain=None, x=1.0):
    columns = {"eye": eye, "any_unsafe": any_unsafe, "rows": rows}
    data = {"set": "unsafe", "method": "SLD max", "family": "SLD", "x": x, "gated": False, "columns": columns}
    return SimpleNamespace(data=data, plain=plain, resamples=statistics.Resamples(len(eye)))


def test_a_loop_around_a_method_takes_the_weakest_that_the_eye_passes_and_pays_for_all_it_made():
    plain = {"columns": {"eye": [0.1, 0.9, 0.5, 0.9], "any_unsafe": [0.9, 0.9, 0.9, 0.9], "rows": [1.0] * 4}}
    weak = a_row([0.9, 0.1, 0.9, 0.9], [0.0, 0.3, 0.9, 0.9], [1.5] * 4, plain, 1.0)
    strong = a_row([0.0, 0.0, 0.49, 0.6], [0.0, 0.1, 0.2, 0.85], [1.5] * 4, plain, 2.5)
    row = picked("loop around SLD max", [weak, strong])
    columns = row.data["columns"]
    assert columns["any_unsafe"] == [0.9, 0.3, 0.2, 0.85]  # judged by the other detector
    assert columns["rows"] == [1.0, 2.5, 4.0, 4.0] and columns["passed"] == [True, True, True, False]
    assert row.figure("unsafe seen").value == 0.5 and row.figure("rows").value == pytest.approx(2.875)
    assert row.figure("passed").value == 0.75 and row.label == "loop around SLD max"


def test_the_loop_is_put_around_every_related_method_with_strengths_and_some_of_ours(results, reading):
    names = {row.method: row for row in around(reading, "unsafe")}
    assert {*names} >= {
        *("loop around SLD max", "loop around SLD max, from x 1 on", "loop around CASG", "loop around negative prompt"),
        *("loop around dual rewrite", "loop around dual typed", "loop around SAFREE released"),
    }
    assert not any("subtract" in name or "loop around loop" in name for name in names)
    assert all(row.family == AROUND for row in names.values())
    assert names["loop around dual typed"].by_oracle and not names["loop around dual rewrite"].by_oracle
    pushed = {row.method for row, _ in reading.front("layout kept", "unsafe", [*names.values()])}
    assert "loop around SLD max" in pushed and "loop around dual typed" not in pushed
    assert {row.method for row in around(reading, "implicit")} >= {"loop around SLD max", "loop around TraSCE"}
    assert "loop around SLD max" in loop_report.looked(reading, "unsafe")


# -- tables ------------------------------------------------------------------------------------------------------------


def test_of_those_that_had_to_change_is_of_those_whose_plain_picture_shows_it(results):
    changed = copy.deepcopy(results)
    plain, mine = (one(changed, method, x, "implicit") for method, x in (("plain", None), ("loop", 1.0)))
    count = len(plain["columns"]["any_unsafe"])
    plain["columns"]["any_unsafe"] = [0.9] * 10 + [0.0] * (count - 10)
    mine["columns"]["any_unsafe"] = [0.9] * 1 + [0.0] * (count - 1)
    mine["columns"]["moved"] = [0.0] * 8 + [0.5] * (count - 8)
    (line,) = lines_of(loop_report.looked(SafetyResults(changed), "implicit"), "loop at 1")
    assert line[4].startswith("10 % (") and line[5].startswith("80 % (")


def test_rows_are_stated_with_their_worst(results):
    changed = copy.deepcopy(results)
    one(changed, "loop", 1.0)["columns"]["rows"][0] = 3.25
    (line,) = lines_of(loop_report.looked(SafetyResults(changed), "unsafe"), "loop at 1")
    assert line[6].endswith("at most 3.25")


def test_a_false_alarm_is_where_the_eye_finds_what_the_judge_does_not_even_half_see(results):
    changed = copy.deepcopy(results)
    plain, mine = one(changed, "plain", None, "benign"), one(changed, "loop", 1.0, "benign")
    plain["columns"]["any_unsafe"][:1] = [0.5]  # the eye is right, of two that it did not pass
    mine["columns"]["floor"][19], mine["columns"]["level"][19] = 1.0, 0.5
    mine["columns"]["stock"][5] = 0.0
    line = next(cells for cells in lines_of(loop_report.alarms(SafetyResults(changed)), "loop at 1"))
    shares = [cell.split(" (")[0] for cell in line]
    assert line[1] == "benign (20)" and shares[2] == "85 %" and shares[3] == "94 %"  # 16 of 17
    assert shares[5:8] == ["5 %", "5 %", "5 %"]
    assert line[4].startswith("1.00 (1.00–1.00)")


def test_targets_say_what_is_reached_and_what_is_not(results):
    def verdicts(found):
        lines = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in targets(SafetyResults(found)).splitlines()
        ]
        return {cells[0]: cells[3] for cells in lines[2:]}

    changed = copy.deepcopy(results)
    mine, count = one(changed, "loop", 1.0)["columns"], 60
    mine["any_unsafe"], mine["moved"], mine["rows"] = [0.0] * count, [0.0] * count, [1.7] * count
    good = verdicts(changed)
    assert all(cell.endswith(": reached") for cell in good.values()), good
    assert good["harmless, passed by the eye: bit-identical"].startswith("36 of 36, 1.00 rows")
    assert good["a second position of the slider: rows of itself"] == "0.55: reached"
    mine["any_unsafe"][:2], mine["moved"][:7], mine["rows"] = [0.9] * 2, [0.5] * 7, [1.0] * 59 + [3.1]
    mine["malformed"] = [i < 2 for i in range(count)]
    one(changed, "loop", 1.0, "benign")["columns"]["stock"][9] = 0.0
    changed["second"]["loop at 1 after 0.75"] = [0.7, 0.9]
    bad = {name for name, cell in verdicts(changed).items() if cell.endswith(": not reached")}
    assert {name for name in bad if "front" not in name} == {
        *("named: unsafe seen", "named: layout kept", "named: malformed beyond plain", "named: rows"),
        *("harmless, passed by the eye: bit-identical", "a second position of the slider: rows of itself"),
    }


def test_a_related_method_that_dominates_takes_the_loop_off_the_front(results):
    changed, count = copy.deepcopy(results), 60
    nothing = {
        "any_unsafe": [0.0] * count,
        "moved": [0.0] * count,
        "perceptual": [0.001] * count,
        "pixel": [0.001] * count,
    }
    one(changed, "SLD weak")["columns"].update(nothing)
    (line,) = lines_of(targets(SafetyResults(changed)), "named: on the front, beside related methods")
    assert line[3].endswith(": not reached")
    table = loop_report.fronts(SafetyResults(changed), "unsafe", report._place)
    assert all("behind SLD weak, surely" in cells[1] for cells in lines_of(table, "loop at 0.75"))


def test_results_without_a_loop_have_no_tables_of_it(results):
    without = copy.deepcopy(results)
    without["rows"] = [row for row in without["rows"] if row["family"] != "loop"]
    without["second"] = {}
    assert report.loop(SafetyResults(without)) == ""
    files = {"front": "", "front_implicit": "", "examples": ""}
    assert "## The loop" not in report.text(SafetyResults(without), files)
