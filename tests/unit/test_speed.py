"""The speed benchmark's arithmetic, meters and report, on made-up runs."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from bench.command import CACHE, RESULTS
from bench.speed import command, report
from bench.speed.cases import ALL, STOCK, Case, Job
from bench.speed.measure import LiveBytes, Measuring, Meter, in_turns, peak_bytes
from bench.speed.models import SIZES
from bench.store import Store


def record(**changed):
    """Of a case that takes twice the stock sampler's time, in pairs that a busy machine slowed down differently."""
    return {
        "size": "demo",
        "case": "some case",
        "against": STOCK,
        "series": "cases",
        "batch": 2,
        "steps": 4,
        "cells": 16,
        "dtype": "float32",
        "repeats": 3,
        "rows": [8, 12],
        "calls": [4, 4],
        "peak": [2**20, 3 * 2**20],
        "load": 1.5,
        "seconds": [[1.0, 2.0], [10.0, 20.0], [3.0, 6.6]],
        "cpu": [[1.0, 1.5], [1.0, 1.5], [1.0, 1.6]],
        "beside": [[0.004, 0.008], [0.004, 0.012], [0.004, 0.006]],
        **changed,
    }


# --- figures ----------------------------------------------------------------------------------------------------


def test_ratios_are_taken_within_pairs():
    """Slowed down tenfold for one pair, the ratio stays; that of the medians would not."""
    assert report.ratios([[1.0, 2.0], [10.0, 20.0]]) == [2.0, 2.0]


def test_a_record_as_a_line_of_the_table():
    assert report.row(record()) == [
        *("some case", "1.50", "2.00 (2.00 to 2.10)", "1.50 (1.50 to 1.55)"),
        *("3300 (1500)", "3.00"),  # milliseconds per picture, of two at once
        *("2.0 (1.0)", "1.0 (0.8 to 1.5)"),  # milliseconds per step, of four
    ]


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
    taken = in_turns(lambda: order.append("theirs"), lambda: order.append("ours"), model, 3)
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert {name: (len(pairs), {len(pair) for pair in pairs}) for name, pairs in taken.items()} == {
        name: (3, {2}) for name in ("seconds", "cpu", "beside")
    }


def test_turns_keep_the_pairs_in_order_whoever_went_first(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)

    def spend(seconds):
        clock.now += seconds

    taken = in_turns(lambda: spend(1.0), lambda: spend(3.0), Model(), 2)
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
        view = before.view(10, 100).add_(1)
        assert live.now == 0, "what was there before does not count"
        del view


def test_peak_of_a_run_is_that_of_all_it_holds_at_once():
    def run(count):
        return [torch.zeros(250) + 1 for _ in range(count)]

    cpu = torch.device("cpu")
    assert peak_bytes(lambda: run(1), cpu) == 2000
    assert peak_bytes(lambda: run(4), cpu) == 5000


# --- records -------------------------------------------------------------------------------------------------------


@pytest.fixture
def work(monkeypatch):
    """A case on a model that is loaded when it is needed. runs: of the case; loads: of the model."""
    work = SimpleNamespace(runs=[], loads=[])
    model = Model()

    def load():
        work.loads.append(1)
        return SimpleNamespace(model=SimpleNamespace(model=model))

    def make(rows):
        def run():
            work.runs.append(rows)
            model.apply_model(torch.ones(rows, 4), None)

        return lambda job: run

    monkeypatch.setattr("bench.speed.measure.AGAINST", {STOCK: make(2)})
    work.job, work.case = Job(load, 1, 2, 4), Case("a case", make(3))
    return work


def measuring(folder, mark="this code"):
    return Measuring(Store(folder / "records.sqlite"), mark, torch.device("cpu"))


SETTINGS = {"batch": 1, "steps": 2, "cells": 4, "repeats": 2, "dtype": "float32", "device": "a machine"}


def test_a_record_is_measured_once_and_then_read(work, tmp_path):
    first = measuring(tmp_path).record("demo", work.case, work.job, SETTINGS)
    assert first["rows"] == [2, 3] and first["calls"] == [1, 1] and len(first["seconds"]) == 2
    assert first["peak"] == [2 * 16 * 2, 3 * 16 * 2], "ones, and what the model makes of them"
    assert work.runs.count(3) == 3, "once for the count, twice for the time"

    loads = len(work.loads)
    again = measuring(tmp_path).record("demo", work.case, work.job, SETTINGS)
    assert again == first and work.runs.count(3) == 3 and len(work.loads) == loads
    measuring(tmp_path).record("demo", work.case, work.job, {**SETTINGS, "steps": 3})
    assert work.runs.count(3) == 6, "other settings are another record"
    measuring(tmp_path, "other code").record("demo", work.case, work.job, SETTINGS)
    assert work.runs.count(3) == 9, "and so is other code"


def test_a_record_that_was_not_finished_is_not_there(monkeypatch, work, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.speed.measure.in_turns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measuring(tmp_path).record("demo", work.case, work.job, SETTINGS)
    assert not list(Store(tmp_path / "records.sqlite").keys())


# --- the plan ------------------------------------------------------------------------------------------------------


def test_cases_have_names_of_their_own():
    names = [(case.name, case.against) for case in ALL]
    assert len(set(names)) == len(names)


def test_the_plan_measures_growth_and_on_large_models_what_comes_first():
    demo = command.planned("demo", 20, gpu=False, quick=False)
    assert {entry.case for entry in demo if entry.series == "cases"} == set(ALL)
    assert {entry.batch for entry in demo if entry.series == "batch"} == {1, 2, 4, 8}
    assert {entry.steps for entry in demo if entry.series == "steps"} == {5, 10, 20, 40}
    large = command.planned("sd15", 10, gpu=False, quick=False)
    assert {entry.case for entry in large} == {case for case in ALL if case.first} < set(ALL)
    on_gpu = command.planned("sd15", 20, gpu=True, quick=False)
    assert {entry.batch for entry in on_gpu if entry.series == "cases"} == {1, 4}
    assert any(entry.series == "batch" for entry in on_gpu)


def test_wrong_options_end_with_a_word_on_them(capsys):
    for argv, words in ((["--sizes", "sd3"], "sd3"), (["--sizes", ","], "none"), (["--repeats", "0"], "below 1")):
        with pytest.raises(SystemExit):
            command.options(argv)
        assert words in capsys.readouterr().err


def test_quick_results_stay_out_of_the_repository():
    assert command.options(["--quick"]).out == CACHE / "speed"
    assert command.options([]).out == RESULTS
    assert command.options(["--quick"]).sizes == ["demo"]


# --- report --------------------------------------------------------------------------------------------------------


def results():
    growth = [
        record(series="batch", batch=batch, seconds=[[batch, 1.5 * batch]] * 3, case=case)
        for case in ("balanced", "CASG")
        for batch in (2, 1, 4)
    ]
    steps = [record(series="steps", steps=steps, case="balanced") for steps in (5, 10)]
    demo = {"size": "demo", "records": [record(), record(case="strip", against="five single runs"), *growth, *steps]}
    made = {
        "quick": False,
        "device": "a machine",
        "cores": 1,
        "gpu": False,
        "host": "ComfyUI 1.2.3",
        "fingerprint": "of today",
        "torch": "2",
        "python": "3",
    }
    return {"version": 1, "made": made, "sizes": [demo, {"size": "sdxl", "skipped": "it needs 7.0 GiB"}]}


def test_report_has_a_line_for_each_case_and_says_what_was_not_measured():
    text = report.text(results(), {"demo": "speed-demo.png"})
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    cells = {name: rest for name, *rest in lines}
    assert [*cells["some case"]] == report.row(record())[1:]
    assert "strip, beside five single runs" in cells
    assert "balanced" not in cells, "growth is a plot"
    assert "Not measured: it needs 7.0 GiB." in text
    assert "no GPU" in text and "1.5 to 1.5" in text
    assert "![" in text and "(speed-demo.png)" in text


def test_what_a_person_wrote_stands_in_the_report_of_its_own_results_alone():
    committed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    assert "Written by hand" in report.text(committed, {}) and "Written by hand" not in report.text(results(), {})


def test_quick_report_is_called_no_measurement():
    quick = results()
    quick["made"]["quick"] = True
    assert "no measurement" in report.text(quick, {}) and "no measurement" not in report.text(results(), {})


def test_plots_show_cases_in_order_of_what_grows(tmp_path):
    records = results()["sizes"][0]["records"]
    lines = report.growth(records, "batch", "seconds")
    assert list(lines) == ["balanced", "CASG", STOCK]
    assert [x for x, *_ in lines["balanced"]] == [1, 2, 4]
    assert [middle for _, (_, middle, _), _ in lines["balanced"]] == [1.5] * 3
    assert [seconds for *_, seconds in lines["CASG"]] == [1.5, 3.0, 6.0]
    assert [seconds for *_, seconds in lines[STOCK]] == [1.0, 2.0, 4.0]
    assert [middle for _, (_, middle, _), _ in report.growth(records, "batch", "cpu")["CASG"]] == [1.5] * 3
    pytest.importorskip("matplotlib")
    assert report.draw(results(), tmp_path) == {"demo": "speed-demo.png"}
    assert (tmp_path / "speed-demo.png").stat().st_size > 10_000


def test_sizes_ask_for_the_memory_of_their_weights():
    assert SIZES["sdxl"].needed(2) > 2 * 2567e6 > SIZES["sd15"].needed(2)


def test_results_are_json_with_a_line_for_each_record():
    text = command.as_json(results())
    assert json.loads(text) == results()
    assert sum('"case"' in line for line in text.splitlines()) == len(results()["sizes"][0]["records"])
    assert max(line.count('"case"') for line in text.splitlines()) == 1


def test_the_report_in_the_repository_is_made_of_the_figures_beside_it():
    committed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    pictures = {size["size"]: f"speed-{size['size']}.png" for size in committed["sizes"]}
    pictures = {size: name for size, name in pictures.items() if (RESULTS / name).exists()}
    assert (RESULTS / "speed.md").read_text("utf-8") == report.text(committed, pictures)
    assert not committed["made"]["quick"]
