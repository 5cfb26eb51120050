"""The speed benchmark's arithmetic, meters and report, on made-up runs."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from bench import speed
from bench.speed import plots, report
from bench.speed.cases import ALL, STOCK, Case
from bench.speed.measure import Measuring, in_turns
from bench.speed.meter import LiveBytes, Meter, peak_bytes
from bench.speed.models import SIZES
from bench.speed.statistics import ratios, spread, summary


def record(**changed):
    """Of a case that takes twice the stock sampler's time, in pairs that a busy machine slowed down differently."""
    return {
        "size": "demo", "case": "some case", "against": STOCK, "series": "cases", "batch": 2, "steps": 4, "cells": 16,
        "dtype": "float32", "repeats": 3, "rows": [8, 12], "calls": [4, 4], "peak": [2**20, 3 * 2**20], "load": 1.5,
        "seconds": [[1.0, 2.0], [10.0, 20.0], [3.0, 6.6]], "cpu": [[1.0, 1.5], [1.0, 1.5], [1.0, 1.6]],
        "beside": [[0.004, 0.008], [0.004, 0.012], [0.004, 0.006]], **changed,
    }  # fmt: skip


# --- statistics ----------------------------------------------------------------------------------------------------


def test_spread_is_the_median_between_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]) == [2.0, 3.0, 4.0]
    assert spread([1.0, 2.0]) == [1.25, 1.5, 1.75]
    assert spread([7.0]) == [7.0, 7.0, 7.0]
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_are_taken_within_pairs():
    """Slowed down tenfold for one pair, the ratio stays; that of the medians would not."""
    assert ratios([[1.0, 2.0], [10.0, 20.0]]) == [2.0, 2.0]


def test_summary_of_a_record():
    found = summary(record())
    assert found["rows"] == 1.5 and found["memory"] == 3.0
    assert found["time"] == pytest.approx([2.0, 2.0, 2.1])
    assert found["cpu"][1] == pytest.approx(1.5)
    assert found["milliseconds"] == pytest.approx([1500.0, 3300.0]), "a picture, of two at once"
    assert found["beside"] == pytest.approx([1.0, 2.0]), "milliseconds a step, of four"
    assert found["overhead"] == pytest.approx([0.75, 1.0, 1.5])


# --- meters --------------------------------------------------------------------------------------------------------


class Model(torch.nn.Module):
    def apply_model(self, x, t, **_):
        return x * 2


def test_meter_counts_calls_and_rows_and_leaves_the_model_as_it_was():
    model, x = Model(), torch.ones(3, 4)
    with Meter(model) as meter:
        assert torch.equal(model.apply_model(x, None), x * 2)
        model.apply_model(torch.ones(2, 4), None, c_crossattn=x)
    model.apply_model(x, None)
    assert (meter.calls, meter.rows) == (2, 5)
    assert "apply_model" not in vars(model)


def test_meter_tells_the_time_in_the_model_from_the_time_beside_it(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    for name in ("thread_time", "perf_counter", "process_time"):
        monkeypatch.setattr(time, name, lambda: clock.now)

    def spend(seconds):
        clock.now += seconds

    kind = type("Slow", (), {"apply_model": lambda self, x: spend(5.0)})
    model = kind()
    with Meter(model) as meter:
        spend(1.0)
        model.apply_model(torch.ones(1))
        spend(2.0)
        model.apply_model(torch.ones(1))
    spend(100.0)
    assert (meter.seconds, meter.cpu, meter.beside) == (13.0, 13.0, 3.0)


def test_meter_waits_for_the_device_around_calls_only_where_their_time_is_asked_for():
    for inside, expected in ((True, 2 + 2), (False, 2)):
        waits = []
        model = Model()
        with Meter(model, lambda seen=waits: seen.append(1), inside):
            model.apply_model(torch.ones(1), None)
        assert len(waits) == expected


def test_turns_change_who_goes_first():
    order, model = [], Model()
    taken = in_turns(lambda: order.append("theirs"), lambda: order.append("ours"), model, 3, lambda: None)
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert {name: (len(pairs), {len(pair) for pair in pairs}) for name, pairs in taken.items()} == {
        name: (3, {2}) for name in ("seconds", "cpu", "beside")
    }


def test_turns_keep_the_pairs_in_order_whoever_went_first(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)

    def spend(seconds):
        clock.now += seconds

    taken = in_turns(lambda: spend(1.0), lambda: spend(3.0), Model(), 2, lambda: None)
    assert taken["seconds"] == [[1.0, 3.0], [1.0, 3.0]]


def test_live_bytes_follow_tensors_for_as_long_as_they_live():
    before = torch.ones(1000)
    with torch.inference_mode(), LiveBytes() as live:
        first = before + 1
        second = first * 2
        assert (live.now, live.peak) == (8000, 8000)
        del first
        view = second.view(10, 100)
        second += 1
        assert live.now == 4000, "views, and what is changed in place, count once"
        del second
        assert live.now == 4000, "a view keeps its tensor"
        del view
        assert (live.now, live.peak) == (0, 8000)
        kept = before.view(10, 100).add_(1)
        assert live.now == 0, "what was there before does not count"
        del kept


def test_peak_of_a_run_is_that_of_all_it_holds_at_once():
    def run(count):
        return [torch.zeros(250) + 1 for _ in range(count)]

    cpu = torch.device("cpu")
    assert peak_bytes(lambda: run(1), cpu) == 2000
    assert peak_bytes(lambda: run(4), cpu) == 5000


# --- records -------------------------------------------------------------------------------------------------------


def counting_job(runs):
    model = SimpleNamespace(model=Model())
    return SimpleNamespace(subject=SimpleNamespace(model=model), runs=runs)


def made_case(monkeypatch, name="a case"):
    def make(job):
        def run():
            job.runs.append(name)
            job.subject.model.model.apply_model(torch.ones(3, 4), None)

        return run

    def stock(job):
        return lambda: job.subject.model.model.apply_model(torch.ones(2, 4), None)

    monkeypatch.setattr("bench.speed.measure.AGAINST", {STOCK: stock})
    return Case(name, make)


SETTINGS = {"batch": 1, "steps": 2, "cells": 4, "repeats": 2, "dtype": "float32", "device": "a machine"}


def test_a_record_is_measured_once_and_then_read(monkeypatch, tmp_path):
    case, runs, jobs = made_case(monkeypatch), [], []

    def job():
        jobs.append(1)
        return counting_job(runs)

    found = Measuring(tmp_path, torch.device("cpu")).record("demo", case, job, SETTINGS)
    assert found["rows"] == [2, 3] and found["calls"] == [1, 1] and len(found["seconds"]) == 2
    assert found["peak"] == [2 * 16 * 2, 3 * 16 * 2], "ones, and what the model makes of them"
    assert len(runs) == 3, "once for the count, twice for the time"

    again = Measuring(tmp_path, torch.device("cpu")).record("demo", case, job, SETTINGS)
    assert again == found and len(runs) == 3 and len(jobs) == 1
    Measuring(tmp_path, torch.device("cpu")).record("demo", case, job, {**SETTINGS, "steps": 3})
    assert len(jobs) == 2, "other settings are another record"


def test_a_record_that_was_not_finished_is_not_there(monkeypatch, tmp_path):
    case = made_case(monkeypatch)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.speed.measure.in_turns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Measuring(tmp_path, torch.device("cpu")).record("demo", case, lambda: counting_job([]), SETTINGS)
    assert not list(tmp_path.glob("*.json"))


# --- the plan ------------------------------------------------------------------------------------------------------


def nodes_with(*widgets):
    kind = type("Node", (), {"INPUT_TYPES": classmethod(lambda cls: {"required": dict.fromkeys(widgets, ())})})
    return {case.node: kind for case in ALL}


def test_a_case_whose_node_or_widget_the_pack_lacks_is_left_out():
    case = Case("x", lambda job: None, node="SafelightModelPatch", widget="economy")
    assert not case.is_there({}) and not case.is_there(nodes_with("safety"))
    assert case.is_there(nodes_with("safety", "economy"))


def test_cases_have_names_of_their_own():
    names = [(case.name, case.against) for case in ALL]
    assert len(set(names)) == len(names)


def test_the_plan_measures_growth_and_on_large_models_what_comes_first():
    every = {case.widget for case in ALL}
    nodes = nodes_with(*every)
    demo = speed.planned("demo", nodes, 20, gpu=False, quick=False)
    assert {entry.case for entry in demo if entry.series == "cases"} == set(ALL)
    assert {entry.batch for entry in demo if entry.series == "batch"} == {1, 2, 4, 8}
    assert {entry.steps for entry in demo if entry.series == "steps"} == {5, 10, 20, 40}
    large = speed.planned("sd15", nodes, 10, gpu=False, quick=False)
    assert {entry.case for entry in large} == {case for case in ALL if case.first} < set(ALL)
    on_gpu = speed.planned("sd15", nodes, 20, gpu=True, quick=False)
    assert {entry.batch for entry in on_gpu if entry.series == "cases"} == {1, 4}
    assert any(entry.series == "batch" for entry in on_gpu)


def test_wrong_options_end_with_a_word_on_them(capsys):
    for argv, words in ((["--sizes", "sd3"], "sd3"), (["--sizes", ","], "none"), (["--repeats", "0"], "below 1")):
        with pytest.raises(SystemExit):
            speed.options(argv)
        assert words in capsys.readouterr().err


def test_quick_results_stay_out_of_the_repository():
    assert speed.options(["--quick"]).out == speed.CACHE
    assert speed.options([]).out == speed.RESULTS
    assert speed.options(["--quick"]).sizes == ["demo"]


# --- report --------------------------------------------------------------------------------------------------------


def results():
    growth = [
        record(series="batch", batch=batch, seconds=[[batch, 1.5 * batch]] * 3, case=case)
        for case in ("balanced", "CASG") for batch in (2, 1, 4)
    ]  # fmt: skip
    steps = [record(series="steps", steps=steps, case="balanced") for steps in (5, 10)]
    demo = {"size": "demo", "records": [record(), record(case="strip", against="five single runs"), *growth, *steps]}
    made = {
        "quick": False,
        "device": "a machine",
        "cores": 1,
        "gpu": False,
        "host": "1.2.3",
        "torch": "2",
        "python": "3",
    }
    return {"version": 1, "made": made, "sizes": [demo, {"size": "sdxl", "skipped": "it needs 7.0 GiB"}]}


def test_report_has_a_line_for_each_case_and_says_what_was_not_measured():
    text = report.text(results(), {"demo": "speed-demo.png"})
    cells = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1:] for line in text.splitlines()
             if line.startswith("| ")}  # fmt: skip
    assert cells["some case"] == [
        "1.50", "2.00 (2.00 to 2.10)", "1.50 (1.50 to 1.55)", "3300 (1500)", "3.00", "2.0 (1.0)", "1.0 (0.8 to 1.5) |",
    ]  # fmt: skip
    assert "strip, beside five single runs" in cells
    assert "balanced" not in cells, "growth is a plot"
    assert "Not measured: it needs 7.0 GiB." in text
    assert "no GPU" in text and "1.5 to 1.5" in text
    assert "![" in text and "(speed-demo.png)" in text
    assert all(len(line) <= 120 for line in report.INTRODUCTION.splitlines())


def test_the_short_of_it_is_what_a_reader_asks_for_first():
    records = [record(), record(case="gate closed", rows=[8, 8]), record(case="strip of 5", against="five single runs")]
    assert report.in_short(records) == [
        "- gate closed: 1.00 times the rows, 2.00 times the time and 1.50 times the CPU time of the stock KSampler",
        "- strip of 5: 1.50 times the rows, 2.00 times the time and 1.50 times the CPU time of five single runs",
    ]


def test_report_tells_of_other_work_on_the_machine():
    busy = results()
    busy["sizes"][0]["records"][0]["load"] = 1.6
    assert "all the while" in report.text(busy, {}) and "all the while" not in report.text(results(), {})


def test_quick_report_is_called_no_measurement():
    quick = results()
    quick["made"]["quick"] = True
    assert "no measurement" in report.text(quick, {}) and "no measurement" not in report.text(results(), {})


def test_plots_show_cases_in_order_of_what_grows(tmp_path):
    records = results()["sizes"][0]["records"]
    found = plots.lines(records, "batch", "seconds")
    assert list(found) == ["balanced", "CASG", STOCK]
    assert [x for x, *_ in found["balanced"]] == [1, 2, 4]
    assert [middle for _, (_, middle, _), _ in found["balanced"]] == [1.5] * 3
    assert [seconds for *_, seconds in found["CASG"]] == [1.5, 3.0, 6.0]
    assert [seconds for *_, seconds in found[STOCK]] == [1.0, 2.0, 4.0]
    assert [middle for _, (_, middle, _), _ in plots.lines(records, "batch", "cpu")["CASG"]] == [1.5] * 3
    pytest.importorskip("matplotlib")
    assert plots.draw(results(), tmp_path) == {"demo": "speed-demo.png"}
    assert (tmp_path / "speed-demo.png").stat().st_size > 10_000


def test_sizes_ask_for_the_memory_of_their_weights():
    assert SIZES["sdxl"].needed(2) > 2 * 2567e6 > SIZES["sd15"].needed(2)


def test_results_are_json_with_a_line_for_each_record():
    text = report.lines(results())
    assert json.loads(text) == results()
    assert sum('"case"' in line for line in text.splitlines()) == len(results()["sizes"][0]["records"])
    assert max(line.count('"case"') for line in text.splitlines()) == 1


def test_the_report_in_the_repository_is_made_of_the_figures_beside_it():
    kept = json.loads((speed.RESULTS / "speed.json").read_text("utf-8"))
    pictures = {size["size"]: f"speed-{size['size']}.png" for size in kept["sizes"]}
    pictures = {size: name for size, name in pictures.items() if (speed.RESULTS / name).exists()}
    assert (speed.RESULTS / "speed.md").read_text("utf-8") == report.text(kept, pictures)
    assert not kept["made"]["quick"]
