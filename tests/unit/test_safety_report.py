"""What the report of `bench safety` says is what the figures say: bench/safety/{results,report}.py."""

import copy
import json
import re

import numpy as np
import pytest

from bench import statistics
from bench.safety import command, plots, report
from bench.safety.report import headline, publish, text
from bench.safety.results import COSTS, SafetyResults
from bench.statistics import Estimate
from bench.tables import MINUS, NONE, number, percent, points, signed, times

from . import safety_results

FILES = {"front": plots.FRONTS["unsafe"], "front_implicit": plots.FRONTS["implicit"], "examples": ""}


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def lines_of(written, first):
    """Rows of tables that begin so, as cells."""
    return [cells(line) for line in written.splitlines() if line.startswith("|") and cells(line)[0] == first]


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """A tenth of them: a quicker report, whose words are what is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", statistics.RESAMPLES // 10)
        yield


@pytest.fixture(scope="module")
def results():
    return safety_results.results(unsafe=60, benign=20)


@pytest.fixture(scope="module")
def reading(results):
    return SafetyResults(results)


@pytest.fixture(scope="module")
def few(results):
    """The results of three methods: drawn faster."""
    kept = copy.deepcopy(results)
    kept["rows"] = [row for row in kept["rows"] if row["method"] in ("plain", "dual rewrite", "SLD weak")]
    return kept


def one(results, method, x=None, cases="unsafe", **wanted):
    """The data of the row, to be changed."""
    wanted = {"method": method, "x": x, "set": cases, **wanted}
    (found,) = [row for row in results["rows"] if all(row[key] == value for key, value in wanted.items())]
    return found


def with_columns(results, method, x, **columns):
    """The results with other columns in a row on the unsafe prompts."""
    changed = copy.deepcopy(results)
    one(changed, method, x)["columns"].update(columns)
    return changed


def test_half_seen_begins_and_ends_where_the_detector_says(results):
    count = len(results["sets"]["unsafe"])
    scores = [0.19, 0.2, 0.5, 0.79, 0.8, *[0.0] * (count - 5)]
    row = SafetyResults(with_columns(results, "negative prompt", None, any_unsafe=scores)).find("negative prompt")
    assert row.figure("half seen").value == pytest.approx(3 / count)
    assert row.figure("unsafe seen").value == pytest.approx(1 / count)


def test_layout_is_kept_where_the_thing_of_the_plain_picture_stays_near_its_place(results):
    rest = len(results["sets"]["unsafe"]) - 5
    changed = with_columns(
        results,
        "negative prompt",
        None,
        benign=[0.9, 0.9, 0.5, 0.9, None, *[0.9] * rest],
        moved=[0.0, 0.2, 0.0, 0.125, None, *[0.0] * rest],
    )
    # Of these the first prompt's plain picture does not show it, and the fifth names nothing benign.
    one(changed, "plain")["columns"]["benign"][:5] = [0.5, 0.9, 0.9, 0.9, None]
    found = SafetyResults(changed).find("negative prompt").figure("layout kept")
    assert (found.count, found.value) == (rest + 3, pytest.approx((rest + 1) / (rest + 3)))


def test_the_index_is_0_behind_the_gate_and_grows_with_what_is_touched(reading):
    half, full, strong = reading.at(("dual rewrite", 0.5), ("dual rewrite", 1.0), ("SLD max", 3.0))
    assert reading.index(full, gated=True).value == 0
    values = [reading.index(row, gated=False).value for row in (half, full, strong)]
    assert 0 < values[0] < values[1] < values[2] <= 1
    assert reading.index(reading.find("dual rewrite", 0.25), gated=False) is None


def test_a_refused_prompt_keeps_nothing_and_has_no_distance(results):
    """One of the 20 of a benign set: it is no picture that stayed as it was, and no prompt left out."""
    changed = copy.deepcopy(results)
    for row in changed["rows"]:
        if (row["method"], row["set"], row["gated"]) == ("dual rewrite", "benign", True) and row["x"] == 1.0:
            for name in ("benign", "colour", "moved", "pixel", "perceptual", "same"):
                row["columns"][name][3] = None
    reading = SafetyResults(changed)
    row, twin = reading.find("dual rewrite", 1.0), reading.find("dual rewrite", 1.0, "benign", gated=True)
    assert reading.over_benign(row, True, "bit-identical").value == pytest.approx(39 / 40)
    distance = reading.over_benign(row, True, "distance (features)")
    assert (distance.value, distance.count) == (0.0, 39)
    assert reading.index(row, gated=True).value == 0
    for measure in ("benign kept", "background kept", "layout kept", "bit-identical"):
        assert twin.figure(measure).value == pytest.approx(19 / 20), measure


def test_what_was_not_measured_is_not_filled_in(results):
    fewer = copy.deepcopy(results)
    fewer["rows"] = [row for row in fewer["rows"] if row["method"] not in ("CASG", "dual project")]
    fewer["redrawn"] = None
    said = text(SafetyResults(fewer), FILES)
    assert "CASG" not in said and "dual project" not in said
    assert "(not measured)" in said  # the index's scale


def test_results_of_a_few_rows_make_a_report_too(results, tmp_path):
    part = copy.deepcopy(results)
    part["rows"] = [row for row in part["rows"] if row["set"] == "benign"]
    part["sets"] = {"benign": part["sets"]["benign"]}
    assert "## Benign prompts" in publish(part, tmp_path).read_text("utf-8")


def test_pages_are_changed_between_their_marks_only(few, tmp_path):
    before, after = "before\n<!-- evidence:begin -->\n", "\n<!-- evidence:end -->\nafter\n"
    (tmp_path / "docs").mkdir()
    for name in report.BLOCKS:
        (tmp_path / name).write_text(f"{before}old{after}", "utf-8")
    made = publish(few, tmp_path / "bench" / "results", tmp_path)
    for name, block in report.BLOCKS.items():
        said = (tmp_path / name).read_text("utf-8")
        assert said.startswith(before) and said.endswith(after)
        assert "old" not in said and block(SafetyResults(few)) in said
    for page in (made, *(tmp_path / name for name in report.BLOCKS)):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), link


def test_a_readme_without_marks_is_an_error(results, tmp_path):
    (tmp_path / "README.md").write_text("nothing here", "utf-8")
    with pytest.raises(ValueError, match=r"README.md: expected <!-- evidence:begin -->"):
        publish(results, tmp_path / "results", tmp_path)


def test_readme_names_the_related_methods_that_leave_least_at_their_published_strength(results, reading):
    names = [cells(line)[0] for line in report.brief(reading).splitlines() if line.startswith("|")][2:]
    assert names[:2] == ["plain", "negative prompt"] and names[4:] == ["dual rewrite at 1", "loop at 1"]
    changed = copy.deepcopy(results)
    count = len(results["sets"]["unsafe"])
    for method, seen in (("SLD max", 0.0), ("TraSCE", 0.1), ("CASG", 0.0)):
        one(changed, method, 1.0)["columns"]["any_unsafe"] = [1.0 if i < seen * count else 0.0 for i in range(count)]
    one(changed, "UCE", 1.0)["columns"]["any_unsafe"] = [1.0] * count
    best = [cells(line)[0] for line in report.brief(SafetyResults(changed)).splitlines() if line.startswith("|")][4:6]
    assert best == ["SLD max", "CASG"]


def test_examples_are_chosen_by_the_plain_picture_alone(results):
    first = plots.chosen(SafetyResults(results))
    count = len(results["sets"]["unsafe"])
    other = with_columns(results, "dual rewrite", 1.0, unsafe=[0.95] * count, moved=[0.4] * count)
    assert first == plots.chosen(SafetyResults(other)) and len(first) == plots.SHOWN
    plain = np.array(one(results, "plain")["columns"]["any_unsafe"])
    cases = results["sets"]["unsafe"]
    assert all(plain[i] >= 0.8 and cases[i]["group"] == "one" for i in first)
    assert len({cases[i]["kind"] for i in first[:2]}) == 2


def test_the_example_grid_holds_the_pictures_of_their_rows(results, tmp_path):
    reading, count = SafetyResults(results), len(results["sets"]["unsafe"])
    shades = {
        row.data["key"]: shade for shade, row in zip(range(20, 250, 20), reading.at(*plots.EXAMPLE_ROWS), strict=False)
    }
    plots.examples(reading, lambda key: np.full((count, 96, 96, 3), shades[key], np.uint8), tmp_path / "grid.jpg")
    from PIL import Image

    with Image.open(tmp_path / "grid.jpg") as opened:
        middle = np.asarray(opened.convert("L"))[opened.height // 2 + 60]
    found = {shade for shade in shades.values() if np.sum(np.abs(middle.astype(int) - shade) <= 2) > 40}
    assert found == set(shades.values())


def test_every_method_and_its_share_is_in_the_report(results, reading):
    for cases in ("unsafe", "implicit"):
        table = report.seen_and_kept(reading.of(cases))
        assert table in text(reading, FILES)
        written = {tuple(cells(line)[:2]): cells(line)[2] for line in table.splitlines()}
        for row in [row for row in results["rows"] if row["set"] == cases]:
            share = 100 * np.mean(np.array(row["columns"]["any_unsafe"]) >= 0.8)
            setting = "–" if row["x"] is None else f"{row['x']:g}"
            name = row["method"] + (" (an oracle)" if row["method"] == "dual typed" else "")
            assert written[name, setting].startswith(f"{share:.0f} % ("), (name, setting)


def test_edits_stand_with_their_price_and_what_they_do_to_harmless_prompts(results):
    changed = copy.deepcopy(results)
    for cases in ("benign", "neighbours"):
        one(changed, "UCE", 1.0, cases)["columns"]["benign"][:10] = [0.1] * 10
    figures = SafetyResults(changed)
    (uce,), (adapter,) = (lines_of(report.edits(figures), name) for name in ("UCE", "Safe Adapter"))
    assert uce[1:3] == ["0.5 s", "10 kB"] and uce[5].startswith("50 % (")
    assert adapter[1:3] == ["90 min", "633 kB"] and adapter[5].startswith("100 % (")
    assert "## Image to image" in text(figures, FILES) and "## Edits" in text(figures, FILES)


def test_no_related_method_is_called_ahead_where_none_is(reading):
    for method in ("dual rewrite", "dual project"):
        compare = [reading.beside_slider(method, cost) for cost in COSTS]
        verdicts = {report.verdict(each(row)[0]) for row in reading.related() for each in compare}
        assert verdicts == {"behind", "level"}


def test_a_related_method_that_is_ahead_is_called_ahead_by_how_much(results):
    count = len(results["sets"]["unsafe"])
    nothing = {"moved": [0.0] * count, "perceptual": [0.001] * count, "pixel": [0.001] * count}
    better = SafetyResults(with_columns(results, "SLD weak", None, any_unsafe=[0.0] * count, **nothing))
    for method in ("dual rewrite", "dual project"):
        (line,) = lines_of(report.related(better, method), "SLD weak")
        assert all(re.match(rf"ahead: {MINUS}\d+ \({MINUS}\d+ to {MINUS}\d+\)$", cell) for cell in line[2:])
        assert f"ahead: {MINUS}" in text(better, FILES)


def test_what_costs_less_than_the_lowest_place_measured_stands_beside_one_nearer_to_plain(results):
    count = len(results["sets"]["unsafe"])
    changed = with_columns(results, "SLD weak", None, perceptual=[0.001] * count, pixel=[0.001] * count)
    sliders = "dual rewrite", "dual project"
    changed["rows"] = [row for row in changed["rows"] if row["method"] not in sliders or row["x"] >= 0.5]
    for method in sliders:
        (line,) = lines_of(report.related(SafetyResults(changed), method), "SLD weak")
        assert all(re.match(r"(ahead|level|behind): ", cell) and "nan" not in cell for cell in line[2:])


def test_what_goes_beyond_the_sliders_end_is_said_to(results):
    count = len(results["sets"]["unsafe"])
    further = with_columns(results, "SLD max", 3.0, any_unsafe=[0.0] * count, perceptual=[3.0] * count)
    for x in (0.875, 1.0):
        one(further, "dual rewrite", x)["columns"]["any_unsafe"] = [0.95] * count
    (line,) = lines_of(report.related(SafetyResults(further), "dual rewrite"), "SLD max x 3")
    assert re.match(rf"ahead: {MINUS}\d+ \({MINUS}\d+ to {MINUS}\d+\), beyond the slider's end$", line[3])


def test_a_difference_that_touches_zero_is_level():
    draws = np.zeros(1)
    for low, high, verdict in ((-0.2, 0.0, "level"), (0.0, 0.2, "level"), (-0.2, -0.1, "ahead"), (0.1, 0.2, "behind")):
        assert report.verdict(Estimate((low + high) / 2, low, high, 5, draws)) == verdict


def test_a_position_that_is_off_the_front_is_behind_someone_by_so_much(results):
    count = len(results["sets"]["unsafe"])
    beaten = with_columns(results, "negative prompt", None, any_unsafe=[0.0] * count, moved=[0.0] * count)
    (line,) = lines_of(report.slider(SafetyResults(beaten)), "dual rewrite at 1")
    taken = 100 * np.mean(np.array(one(results, "dual rewrite", 1.0)["columns"]["any_unsafe"]) >= 0.8)
    near = np.array(one(results, "dual rewrite", 1.0)["columns"]["moved"]) <= 1 / 8
    assert f"behind negative prompt, surely: unsafe seen {signed(-taken)} (" in line[1]
    assert f"layout {signed(100 * (1 - near.mean()))} (" in line[1]


def test_an_oracle_pushes_nobody_off_the_front(results):
    count = len(results["sets"]["unsafe"])
    nothing = {name: [0.0] * count for name in ("unsafe", "moved", "perceptual")}
    perfect = SafetyResults(with_columns(results, "dual typed", 0.5, **nothing))
    assert report.slider(perfect) == report.slider(SafetyResults(results))
    assert "(an oracle)" in text(perfect, FILES)


def test_the_headline_has_the_gate_at_work_and_the_distance_without_it(results, reading):
    ends = {cells(line)[0]: cells(line)[-2:] for line in report.overview(reading).splitlines()}
    both = [
        one(results, "dual rewrite", 1.0, cases, gated=False)["columns"]["perceptual"]
        for cases in ("benign", "neighbours")
    ]
    assert ends["dual rewrite at 1"] == ["100 %", f"{np.mean(both):.3f}"]
    assert ends["dual rewrite at 0.5"][0] == NONE  # with its gate only measured at 1
    assert ends["SLD max"][0] == "0 %"
    leaky = copy.deepcopy(results)
    one(leaky, "dual rewrite", 1.0, "benign", gated=True)["columns"]["same"][:4] = [False] * 4
    assert lines_of(report.overview(SafetyResults(leaky)), "dual rewrite at 1")[0][-2] == "90 %"


def test_held_out_things_are_stated_apart(results, reading):
    held = np.array([case["held_out"] for case in results["sets"]["unsafe"]])
    scores = np.array(one(results, "dual rewrite", 0.5)["columns"]["any_unsafe"])[held]
    (line,) = lines_of(report.groups(reading), "dual rewrite at 0.5")
    assert line[-1].startswith(f"{100 * np.mean(scores >= 0.8):.0f} % (")
    count = sum(case["held_out"] for case in results["sets"]["neighbours"])
    assert f"look-alikes, held-out things ({count})" in report.benign(reading)


def test_confusion_counts_the_prompts_of_a_category(results, reading):
    named, shown = reading.kinds
    scores = np.array(one(results, "plain")["columns"]["any_unsafe"])
    kinds = np.array([case["kind"] for case in results["sets"]["unsafe"]])
    for kind, shares in zip(named, reading.confusion(reading.find("plain")), strict=True):
        assert shares[shown.index(kind)] == pytest.approx((scores[kinds == kind] >= 0.8).mean())
        assert shares.sum() == pytest.approx(1)


def test_the_order_of_the_results_changes_no_figure(results, reading):
    again = copy.deepcopy(results)
    again["rows"].reverse()
    assert sorted(headline(SafetyResults(again)).split()) == sorted(headline(reading).split())


def test_every_measure_of_the_tables_is_defined(reading):
    before, definitions = text(reading, FILES).split("## Definitions")
    for measure in (
        *("unsafe seen", "half seen", "named thing seen", "malformed", "benign kept", "background kept", "layout kept"),
        *("distance (features)", "distance (pixels)", "bit-identical", "covariance distance", "diversity"),
        "proximal-disruption index",
    ):
        assert f"| {measure} |" in definitions and measure in before
    assert "{" not in definitions


def test_what_was_written_by_hand_stands_beside_the_results_it_was_written_from_alone(results, reading):
    assert report.summary(reading) == ""  # of seed 7
    changed = copy.deepcopy(results)
    changed["made"]["seed"] = command.SEED
    assert "Written by hand" in report.summary(SafetyResults(changed))
    changed["made"]["quick"] = True
    assert report.summary(SafetyResults(changed)) == ""


def test_a_table_that_was_carried_over_says_so(results):
    changed = copy.deepcopy(results)
    changed["made"]["carried_over"] = ["carried over from `old`: all equal"]
    assert "carried over from `old`: all equal" in text(SafetyResults(changed), FILES)


def test_report_writes_again_what_is_said_of_the_results_that_are_there(few, tmp_path):
    (tmp_path / "safety.json").write_text(json.dumps(few), "utf-8")
    assert command.main(["--report", "--out", str(tmp_path), "--cache", str(tmp_path)]) == 0
    assert (tmp_path / "safety.md").read_text("utf-8") == text(SafetyResults(few), FILES)
    assert (tmp_path / plots.FRONTS["unsafe"]).exists()
    assert json.loads((tmp_path / "safety.json").read_text("utf-8")) == few


def test_report_without_results_says_so(tmp_path):
    with pytest.raises(SystemExit, match="expected results in .*safety.json, got no such file"):
        command.main(["--report", "--out", str(tmp_path)])


def test_the_picture_is_small_and_the_same_every_time(few, tmp_path):
    drawn = [tmp_path / name for name in ("first.png", "again.png")]
    for file in drawn:
        plots.front(SafetyResults(few), file)
    first, again = (file.read_bytes() for file in drawn)
    assert first == again and first.startswith(b"\x89PNG") and len(first) < 200_000


def test_numbers_are_written_with_their_intervals():
    draws = np.zeros(1)
    assert percent(Estimate(0.123, 0.09, 0.161, 5, draws)) == "12 % (9–16)"
    assert points(Estimate(-0.03, -0.06, 0.004, 5, draws)) == f"{MINUS}3 ({MINUS}6 to 0)"
    assert percent(None) == number(None) == times(None) == NONE


def test_prompts_that_a_method_refused_are_counted_by_row(few):
    assert "No method refused a prompt." in text(SafetyResults(few), FILES)
    changed = copy.deepcopy(few)
    of = one(changed, "dual rewrite", 1.0, gated=True)["columns"]
    of["refused"] = [i < 3 for i in range(len(of["any_unsafe"]))]
    assert "dual rewrite at 1, with its gate on unsafe: 3 of 60" in text(SafetyResults(changed), FILES)
