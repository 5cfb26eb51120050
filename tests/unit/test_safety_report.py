"""What the report of `bench safety` says is what the figures say: bench/safety/{reading,verdicts,tables,report}.py."""

import copy
import json
import re
import sys

import numpy as np
import pytest

from bench.safety import command, examples, plots, tables, verdicts
from bench.safety.reading import Reading
from bench.safety.report import definitions, headline, publish, text

from . import safety_results

FILES = {name: f"safety_{name}.png" for name in ("front", "front_pixel", "slider", "context", "benign", "index",
                                                 "confusion")}  # fmt: skip


@pytest.fixture(scope="module")
def results():
    return safety_results.results(unsafe=60, benign=20)


@pytest.fixture(scope="module")
def reading(results):
    return Reading(results)


@pytest.fixture(scope="module")
def few(results):
    """The results of three methods: drawn faster."""
    kept = copy.deepcopy(results)
    kept["rows"] = [row for row in kept["rows"] if row["method"] in ("plain", "dual project", "SLD weak")]
    return kept


def one(results, method, x=None, cases="unsafe", **wanted):
    """The data of the row, to be changed."""
    wanted = {"method": method, "x": x, "set": cases, "context": None, **wanted}
    (found,) = [row for row in results["rows"] if all(row[key] == value for key, value in wanted.items())]
    return found


def with_columns(results, method, x, **columns):
    """The results with other columns in a row on the unsafe prompts."""
    changed = copy.deepcopy(results)
    one(changed, method, x)["columns"].update(columns)
    return changed


def test_every_method_and_its_share_is_in_the_report(results, reading):
    said = text(reading, FILES)
    for row in results["rows"]:
        if row["set"] == "unsafe":
            share = 100 * np.mean(np.array(row["columns"]["unsafe"]) >= 0.8)
            setting = "–" if row["x"] is None else f"{row['x']:g}"
            setting += "" if row["context"] is None else f", context {row['context']:g}"
            line = rf"\| {re.escape(row['method'])}( \(an oracle\))? \| {re.escape(setting)} \| {share:.0f} % \("
            assert re.search(line, said), line


def test_edits_stand_with_their_price_and_what_they_do_to_harmless_prompts(results):
    changed = copy.deepcopy(results)
    for cases in ("benign", "neighbours"):
        scores = one(changed, "UCE", 1.0, cases)["columns"]["benign"]
        scores[:10] = [0.1] * 10
    found = Reading(changed)
    said = tables.edits(found)
    assert re.search(r"\| UCE \| 0.5 s \| 10 kB \|.*\| 50 % \(", said)
    assert re.search(r"\| Safe Adapter \| 90 min \| 633 kB \|.*\| 100 % \(", said)
    uce, adapter = verdicts.edits(found)
    assert uce.startswith("UCE: on benign prompts fewer of the things named are there (−50 ")
    assert "as many as far as can be told" in adapter
    assert "## Image to image" in text(found, FILES) and "## Edits" in text(found, FILES)


def test_half_seen_begins_and_ends_where_the_detector_says(results):
    count = len(results["sets"]["unsafe"])
    scores = [0.19, 0.2, 0.5, 0.79, 0.8, *[0.0] * (count - 5)]
    row = Reading(with_columns(results, "negative prompt", None, unsafe=scores)).find("negative prompt")
    assert row.half_seen().value == pytest.approx(3 / count)
    assert row.seen().value == pytest.approx(1 / count)


def test_layout_is_kept_where_the_thing_of_the_plain_picture_stays_near_its_place(results):
    rest = len(results["sets"]["unsafe"]) - 5
    changed = with_columns(results, "negative prompt", None, benign=[0.9, 0.9, 0.5, 0.9, None, *[0.9] * rest],
                           moved=[0.0, 0.2, 0.0, 0.125, None, *[0.0] * rest])  # fmt: skip
    # Of these the first prompt's plain picture does not show it, and the fifth names nothing benign.
    one(changed, "plain")["columns"]["benign"][:5] = [0.5, 0.9, 0.9, 0.9, None]
    found = Reading(changed).find("negative prompt").layout_kept()
    assert (found.count, found.value) == (rest + 3, pytest.approx((rest + 1) / (rest + 3)))


def test_no_neighbour_is_called_ahead_where_none_is(reading):
    for method in verdicts.DEFAULTS:
        assert not any(
            found.verdict == "ahead" for row in reading.neighbours() for found in reading.compare(row, method)
        )
        assert all("no neighbour is ahead" in sentence for sentence in verdicts.ahead(reading, method))
    assert "ahead of dual project within its slider's reach: at equal layout none" in headline(reading.results)


def test_a_neighbour_that_is_ahead_is_called_ahead_by_how_much(results):
    count = len(results["sets"]["unsafe"])
    better = Reading(with_columns(
        results, "SLD weak", None, unsafe=[0.0] * count, moved=[0.0] * count, perceptual=[0.001] * count,
        pixel=[0.001] * count,
    ))  # fmt: skip
    for method in verdicts.DEFAULTS:
        sentences = verdicts.ahead(better, method)
        assert all(re.search(rf"ahead of {method}: SLD weak by −\d+ \(−\d+ to −\d+\) points", s) for s in sentences)
    assert "ahead: −" in text(better, FILES)
    assert "at equal layout SLD weak" in headline(better.results)
    assert "behind a neighbour at 0.125" in " ".join(verdicts.front(better))


def test_what_goes_beyond_the_sliders_end_is_said_to(results):
    count = len(results["sets"]["unsafe"])
    further = with_columns(results, "SLD max", 3.0, unsafe=[0.0] * count, perceptual=[3.0] * count)
    one(further, "dual project", 1.0)["columns"]["unsafe"] = [0.95] * count
    one(further, "dual project", 0.875)["columns"]["unsafe"] = [0.95] * count
    sentence = verdicts.ahead(Reading(further), "dual project")[1]
    assert re.search(r"SLD max x 3 by −\d+ \(−\d+ to −\d+\) points, beyond the slider's end", sentence)


def test_a_position_that_is_off_the_front_is_behind_someone_by_so_much(results):
    count = len(results["sets"]["unsafe"])
    beaten = with_columns(results, "negative prompt", None, unsafe=[0.0] * count, moved=[0.0] * count)
    line = next(
        line for line in verdicts.slider(Reading(beaten)).splitlines() if line.startswith("| dual project at 1 ")
    )
    taken = 100 * np.mean(np.array(one(results, "dual project", 1.0)["columns"]["unsafe"]) >= 0.8)
    kept = np.array(one(results, "dual project", 1.0)["columns"]["moved"]) <= 1 / 8
    assert f"behind negative prompt, surely: unsafe seen {tables.signed(-taken)} (" in line
    assert f"layout {tables.signed(100 * (1 - kept.mean()))} (" in line


def test_an_oracle_pushes_nobody_off_the_front(results):
    count = len(results["sets"]["unsafe"])
    perfect = Reading(with_columns(results, "dual typed", 0.5, unsafe=[0.0] * count, moved=[0.0] * count,
                                   perceptual=[0.0] * count))  # fmt: skip
    ordinary = Reading(results)
    assert verdicts.front(perfect) == verdicts.front(ordinary)
    assert "(an oracle)" in text(perfect, FILES)


def test_who_is_cheaper_is_said(results):
    assert "No neighbour needs fewer rows" in verdicts.price(Reading(results))[0]
    cheap = copy.deepcopy(results)
    for row in cheap["rows"]:
        row["relative_rows"] = 1.0 if row["method"] == "SAFREE released" else 1.5
    assert verdicts.price(Reading(cheap))[0].startswith("Ahead in cost: SAFREE released")


def test_the_gate_is_said_as_measured(results):
    said = " ".join(verdicts.gate(Reading(results)))
    assert "dual project at 1 leaves 100 % of the 40 benign prompts' pictures bit-identical" in said
    leaky = copy.deepcopy(results)
    one(leaky, "dual project", 1.0, "benign", gated=True)["columns"]["same"][:4] = [False] * 4
    assert "dual project at 1 leaves 90 % of the 40" in " ".join(verdicts.gate(Reading(leaky)))


def test_the_headline_has_the_gate_at_work_and_the_distance_without_it(results, reading):
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ")[-2:] for line in tables.headline(reading).splitlines()}
    both = [one(results, "dual project", 1.0, cases, gated=False)["columns"]["perceptual"]
            for cases in ("benign", "neighbours")]  # fmt: skip
    assert cells["| dual project at 1"] == ["100 %", f"{np.mean(both):.3f}"]
    assert cells["| dual project at 0.5"][0] == tables.NONE  # with its gate only measured at 1
    assert cells["| SLD max"][0] == "0 %"


def test_held_out_things_are_stated_apart(results, reading):
    held = np.array([case["held_out"] for case in results["sets"]["unsafe"]])
    scores = np.array(one(results, "dual project", 0.5)["columns"]["unsafe"])[held]
    (line,) = [line for line in tables.groups(reading).splitlines() if line.startswith("| dual project at 0.5 ")]
    assert line.split(" | ")[-1].startswith(f"{100 * np.mean(scores >= 0.8):.0f} % (")
    assert (
        f"neighbours, held-out things ({sum(c['held_out'] for c in results['sets']['neighbours'])})"
        in tables.benign(reading)
    )


def test_the_index_is_0_behind_the_gate_and_grows_with_what_is_touched(reading):
    assert reading.index("dual project", 1.0, gated=True).value == 0
    half, full = (reading.index("dual project", x, gated=False) for x in (0.5, 1.0))
    assert 0 < half.value < full.value < reading.index("SLD max", 3.0, gated=False).value <= 1
    assert reading.index("dual project", 0.25, gated=False) is None


def test_confusion_counts_the_prompts_of_a_category(results, reading):
    named, shown, shares = reading.confusion(reading.find("plain"))
    scores = np.array(one(results, "plain")["columns"]["unsafe"])
    kinds = np.array([case["kind"] for case in results["sets"]["unsafe"]])
    for kind, line in zip(named, shares, strict=True):
        assert line[shown.index(kind)] == pytest.approx((scores[kinds == kind] >= 0.8).mean())
        assert line.sum() == pytest.approx(1)


def test_what_was_not_measured_is_not_filled_in(results):
    fewer = copy.deepcopy(results)
    fewer["rows"] = [row for row in fewer["rows"] if row["method"] not in ("CASG", "dual selective")]
    fewer["redrawn"] = None
    said = text(Reading(fewer), FILES)
    assert "CASG" not in said and "dual selective" not in said
    assert "(not measured)" in said  # the index's scale


def test_results_of_a_few_rows_make_a_report_too(results, tmp_path):
    part = copy.deepcopy(results)
    part["rows"] = [row for row in part["rows"] if row["set"] == "benign"]
    part["sets"] = {"benign": part["sets"]["benign"]}
    assert "## Benign prompts" in publish(part, tmp_path).read_text("utf-8")


def test_the_same_results_give_the_same_words(results):
    again = copy.deepcopy(results)
    assert headline(results) == headline(again)
    again["rows"].reverse()
    first = [line for line in headline(results).splitlines() if line.startswith("| dual project at 1 ")]
    assert first and first[0] in headline(again).splitlines()


def test_every_measure_of_the_tables_is_defined(reading):
    words = definitions(reading)
    measures = ("unsafe seen", "half seen", "any unsafe thing seen", "benign kept", "background kept", "layout kept",
                "distance (features)", "distance (pixels)", "bit-identical", "covariance distance", "diversity",
                "proximal-disruption index")  # fmt: skip
    said = text(reading, FILES)
    for measure in measures:
        assert f"| {measure} |" in words and measure in said.split("## Definitions")[0]
    assert "{" not in words


def test_the_readme_is_changed_between_its_marks_only(few, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- evidence:begin -->\nold\n<!-- evidence:end -->\nafter\n", "utf-8")
    made = publish(few, tmp_path / "bench" / "results", readme)
    said = readme.read_text("utf-8")
    assert said.startswith("before\n<!-- evidence:begin -->\n") and said.endswith("\n<!-- evidence:end -->\nafter\n")
    assert "old" not in said and headline(few) in said
    for link in re.findall(r"\]\(([^)#]+)\)", said):
        assert (tmp_path / link).exists(), link
    for link in re.findall(r"\]\(([^)#]+)\)", made.read_text("utf-8")):
        assert (made.parent / link).exists(), link


def test_a_readme_without_marks_is_an_error(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing here", "utf-8")
    with pytest.raises(ValueError, match=r"README.md: no <!-- evidence:begin -->"):
        publish(results, tmp_path / "results", readme)


def test_report_writes_again_what_is_said_of_the_results_that_lie_there(few, tmp_path):
    (tmp_path / "safety.json").write_text(json.dumps(few), "utf-8")
    assert command.main(["--report", "--out", str(tmp_path), "--cache", str(tmp_path)]) == 0
    said = (tmp_path / "safety.md").read_text("utf-8")
    assert said == text(Reading(few), {name: file for name, file in FILES.items() if (tmp_path / file).exists()})


def test_report_without_results_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        command.main(["--report", "--out", str(tmp_path)])
    assert "--report: there is no" in capsys.readouterr().err


def test_pictures_are_small_and_the_same_every_time(reading, tmp_path):
    files = plots.draw(reading, tmp_path)
    assert files == FILES
    data = {name: (tmp_path / file).read_bytes() for name, file in files.items()}
    assert all(one.startswith(b"\x89PNG") for one in data.values())
    assert sum(map(len, data.values())) < 1.5e6
    plots.index(reading, tmp_path)
    assert (tmp_path / FILES["index"]).read_bytes() == data["index"]


def test_a_missing_matplotlib_says_what_to_install(reading, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="pip install matplotlib"):
        plots.draw(reading, tmp_path)


def test_examples_are_chosen_by_the_plain_picture_alone(results):
    first = examples.chosen(Reading(results))
    count = len(results["sets"]["unsafe"])
    other = with_columns(results, "dual project", 1.0, unsafe=[0.95] * count, moved=[0.4] * count)
    assert first == examples.chosen(Reading(other)) and len(first) == examples.PROMPTS
    plain = np.array(one(results, "plain")["columns"]["unsafe"])
    cases = results["sets"]["unsafe"]
    assert all(plain[i] >= 0.8 and cases[i]["group"] == "one" for i in first)
    assert len({cases[i]["kind"] for i in first[:2]}) == 2


def test_the_example_grid_holds_the_pictures_of_their_rows(results, tmp_path):
    reading, count = Reading(results), len(results["sets"]["unsafe"])
    shades = {row.data["key"]: shade for shade, row in zip(range(20, 250, 20), examples.columns(reading), strict=False)}
    examples.write(reading, lambda key: np.full((count, 96, 96, 3), shades[key], np.uint8), tmp_path / "grid.jpg")
    from PIL import Image

    with Image.open(tmp_path / "grid.jpg") as opened:
        middle = np.asarray(opened.convert("L"))[opened.height // 2 + 60]
    found = {shade for shade in shades.values() if np.sum(np.abs(middle.astype(int) - shade) <= 2) > 40}
    assert found == set(shades.values())


def test_numbers_are_written_with_their_intervals():
    from bench.safety.statistics import Estimate

    draws = np.zeros(1)
    assert tables.percent(Estimate(0.123, 0.09, 0.161, 5, draws)) == "12 % (9–16)"
    assert tables.points(Estimate(-0.03, -0.06, 0.004, 5, draws)) == "−3 (−6 to 0)"
    assert tables.percent(None) == tables.number(None) == tables.times(None) == tables.NONE
