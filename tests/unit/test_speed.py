"""The speed benchmark's arithmetic, meters and report, on made-up runs."""

import json
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from bench.command import CACHE, RESULTS
from bench.speed import command, report
from bench.speed.cases import ALL, STOCK, Case, Job
from bench.speed.measure import LiveBytes, in_turns, metered, peak_bytes
from bench.speed.measure import record as take
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


def test_a_record_as_a_line_of_the_table():
    """Ratios are taken within pairs: slowed down tenfold for one pair, its ratio stays; that of medians would not."""
    assert report.row(record()) == [
        *("some case", "1.50", "2.00 (2.00 to 2.10)", "1.50 (1.50 to 1.55)"),
        *("3300 (1500)", "3.00"),  # milliseconds per picture, of two at once
        *("2.0 (1.0)", "1.0 (0.8 to 1.5)"),  # milliseconds per step, of four
    ]


# --- meters --------------------------------------------------------------------------------------------------------


class Model(torch.nn.Module):
    latent_format = SimpleNamespace(latent_channels=4)

    def apply_model(self, x, t, **_):
        return x * 2


def test_calls_and_rows_are_counted_and_the_model_is_left_as_it_was():
    model, x = Model(), torch.ones(3, 4)

    def run():
        assert torch.equal(model.apply_model(x, None), x * 2)
        model.apply_model(torch.ones(2, 4), None, c_crossattn=x)

    figures = metered(run, model)
    assert (figures["calls"], figures["rows"]) == (2, 5)
    assert "apply_model" not in vars(model)
    with pytest.raises(ZeroDivisionError):
        metered(lambda: 1 / 0, model)
    assert "apply_model" not in vars(model)


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds) lets that much time pass, on every clock."""
    now = [0.0]
    for name in ("thread_time", "perf_counter", "process_time"):
        monkeypatch.setattr(time, name, lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_the_time_in_the_model_is_told_from_the_time_beside_it(clock):
    model = type("Slow", (), {"apply_model": lambda self, x: clock(5.0)})()

    def run():
        clock(1.0)
        model.apply_model(torch.ones(1))
        clock(2.0)
        model.apply_model(torch.ones(1))

    figures = metered(run, model)
    assert (figures["seconds"], figures["cpu"], figures["beside"]) == (13.0, 13.0, 3.0)


def test_the_device_is_waited_for_around_calls_only_where_their_time_is_asked_for():
    model, waits = Model(), []

    def wait():
        waits.append(1)

    for asked, expected in (((wait, wait), 2 + 2), ((wait,), 2)):
        waits.clear()
        metered(lambda: model.apply_model(torch.ones(1), None), model, *asked)
        assert len(waits) == expected


def test_turns_change_who_goes_first_and_the_pairs_stay_in_order(clock):
    order = []

    def run(name, seconds):
        order.append(name)
        clock(seconds)

    taken = in_turns((lambda: run("theirs", 1.0), lambda: run("ours", 3.0)), Model(), 3)
    assert order == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert taken["seconds"] == taken["cpu"] == taken["beside"] == [[1.0, 3.0]] * 3


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
def work(monkeypatch, tmp_path):
    """A case on a model that is loaded when it is needed. runs: of the case; loads: of the model; take: its record."""
    work = SimpleNamespace(runs=[], loads=[])
    model = Model()

    def load():
        work.loads.append(1)
        return Job({}, {"model": SimpleNamespace(model=model)})

    def make(rows):
        def run():
            work.runs.append(rows)
            model.apply_model(torch.ones(rows, 4), None)

        return lambda job: run

    def taken(**changed):
        store = Store(tmp_path / "records.sqlite")
        return take(store, Case("a case", make(3)), load, {**SETTINGS, **changed}, torch.device("cpu"))

    monkeypatch.setattr("bench.speed.measure.AGAINST", {STOCK: make(2)})
    work.take, work.store = taken, tmp_path / "records.sqlite"
    return work


SETTINGS = {"size": "demo", "batch": 1, "steps": 2, "cells": 4, "repeats": 2, "dtype": "float32", "device": "a machine"}


def test_a_record_is_measured_once_and_then_read(work):
    first = work.take()
    assert first["rows"] == [2, 3] and first["calls"] == [1, 1] and len(first["seconds"]) == 2
    assert first["peak"] == [2 * 16 * 2, 3 * 16 * 2], "ones, and what the model makes of them"
    assert work.runs.count(3) == 3, "once for the memory, twice for the time"
    assert work.take() == first and work.runs.count(3) == 3 and len(work.loads) == 1
    work.take(steps=3)
    assert work.runs.count(3) == 6, "other settings are another record"


def test_a_record_that_was_not_finished_is_not_there(monkeypatch, work):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.speed.measure.in_turns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        work.take()
    assert not list(Store(work.store).keys())


# --- the plan ------------------------------------------------------------------------------------------------------


def test_cases_have_names_of_their_own():
    names = [(case.name, case.against) for case in ALL]
    assert len(set(names)) == len(names)


def test_the_plan_measures_growth_and_on_large_models_what_comes_first():
    demo = command.planned("demo", gpu=False, quick=False)
    assert {case for series, case, *_ in demo if series == "cases"} == set(ALL)
    assert {settings["batch"] for series, _, settings in demo if series == "batch"} == {1, 2, 4, 8}
    assert {settings["steps"] for series, _, settings in demo if series == "steps"} == {5, 10, 20, 40}
    assert {settings["repeats"] for series, _, settings in demo} == {15, 5}, "a third of the pairs for growth"
    large = command.planned("sd15", gpu=False, quick=False)
    assert {case for _, case, _ in large} == {case for case in ALL if case.first} < set(ALL)
    assert all(settings == {"batch": 1, "steps": 10, "repeats": 5} for *_, settings in large)
    on_gpu = command.planned("sd15", gpu=True, quick=False)
    assert {settings["batch"] for series, _, settings in on_gpu if series == "cases"} == {1, 4}
    assert any(series == "batch" for series, *_ in on_gpu)


def test_an_unknown_size_ends_with_a_word_on_it(capsys):
    with pytest.raises(SystemExit):
        command.main(["--sizes", "sd3"])
    assert "sd3" in capsys.readouterr().err


def test_quick_results_stay_out_of_the_repository(monkeypatch):
    monkeypatch.setattr(command, "execute", lambda name, out, *_: out)
    assert command.main(["--quick"]) == CACHE / "speed"
    assert command.main([]) == RESULTS


# --- report --------------------------------------------------------------------------------------------------------


def results():
    growth = [
        record(series="batch", batch=batch, cpu=[[batch, 1.5 * batch]] * 3, case=case)
        for case in ("balanced", "CASG")
        for batch in (1, 2)
    ]
    growth += [record(series="steps", batch=1, steps=8, case=case) for case in ("balanced", "CASG")]
    demo = {"size": "demo", "records": [record(), record(case="strip", against="five single runs"), *growth]}
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
    text = report.text(results())
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    cells = {name: rest for name, *rest in lines}
    assert [*cells["some case"]] == report.row(record())[1:]
    assert "strip, beside five single runs" in cells
    grown = ["1.50 (1.50 to 1.50)"] * 2 + ["1.50 (1.50 to 1.55)"]
    assert cells["balanced"] == cells["CASG"] == grown, "one at once, two, and more steps"
    assert "Not measured: it needs 7.0 GiB." in text
    assert "no GPU" in text and "1.5 to 1.5" in text
    assert "1 at once, 4 steps" in text and "CPU time beside the stock KSampler's, pairs of runs per cell: 3" in text


def test_what_a_person_wrote_stands_in_the_report_of_its_own_results_alone():
    committed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    assert "Written by hand" in report.text(committed) and "Written by hand" not in report.text(results())


def test_quick_report_is_called_no_result():
    quick = results()
    quick["made"]["quick"] = True
    assert "not a result" in report.text(quick) and "not a result" not in report.text(results())


@pytest.mark.parametrize(("name", "free", "skipped"), [("demo", 0, ""), ("sd15", 4e9, ""), ("sdxl", 4e9, "6.8 GiB")])
def test_a_size_asks_for_the_memory_of_its_weights(monkeypatch, name, free, skipped):
    management = SimpleNamespace(
        get_free_memory=lambda device: free, unload_all_models=lambda: None, cleanup_models=lambda: None
    )
    monkeypatch.setitem(sys.modules, "comfy", SimpleNamespace(model_management=management))
    monkeypatch.setitem(sys.modules, "comfy.model_management", management)
    monkeypatch.setattr(command, "planned", lambda *_: [])
    answer = command.measured(name, False, None, torch.device("cpu"), None)
    assert skipped in answer["skipped"] if skipped else answer == {"records": []}


def test_the_report_in_the_repository_is_made_of_the_figures_beside_it():
    committed = json.loads((RESULTS / "speed.json").read_text("utf-8"))
    assert (RESULTS / "speed.md").read_text("utf-8") == report.text(committed)
    assert not committed["made"]["quick"]
