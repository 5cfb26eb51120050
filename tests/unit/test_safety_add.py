"""`bench safety --add`: rows beside those that are there, and only where plain sampling gives what it gave."""

import argparse
import copy
import json

import pytest

from bench.command import rounded
from bench.safety import command, plan

from . import safety_results


@pytest.fixture(scope="module")
def results():
    return safety_results.results(unsafe=20, benign=8)


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Adds what `made` has to the results of a file, if any; the new results."""

    def adds(made, there=None):
        if there is not None:
            (tmp_path / "safety.json").write_text(json.dumps(there), encoding="utf-8")
        monkeypatch.setattr(command, "run", lambda options: copy.deepcopy(made))
        return command.add(argparse.Namespace(add=["unsafe_SLD*"]), tmp_path)

    return adds


def with_rows(results, *methods, cases=("unsafe",)):
    kept = copy.deepcopy(results)
    kept["made"] |= {"digests": dict.fromkeys(methods, "d"), "minutes": 2.0}
    kept["rows"] = [row for row in kept["rows"] if row["method"] in methods and row["set"] in cases]
    kept["sets"] = {name: kept["sets"][name] for name in cases}
    return kept


def keyed(made):
    """The results with keys as the plan has them."""
    for row in made["rows"]:
        row["key"] = f"{row['set']}_{row['method']}_{row['x']}".replace("_None", "")
    return made


def test_without_results_these_rows_are_the_results(results, add):
    made = with_rows(results, "plain", "SLD max")
    assert add(made) == rounded(made)


def test_what_was_there_stays_and_what_is_new_stands_beside_it(results, add):
    there = with_rows(results, "plain", "dual rewrite", cases=("unsafe", "benign"))
    there["second"], there["edits"] = {"loop at 1": [0.5]}, {"UCE": {"seconds": 1.0, "bytes": 2}}
    new = with_rows(results, "plain", "SLD max")
    new["second"], new["edits"], new["redrawn"] = {}, {"RECE": {"seconds": 3.0, "bytes": 4}}, None
    both = add(new, there)
    keys = [row["key"] for row in both["rows"]]
    assert sorted(keys) == sorted({row["key"] for row in (*there["rows"], *new["rows"])})
    methods = list(dict.fromkeys(row["method"] for row in both["rows"]))
    assert methods == [name for name in plan.METHODS if name in methods]  # whatever was made last
    assert set(both["sets"]) == {"unsafe", "benign"} and set(both["edits"]) == {"UCE", "RECE"}
    assert both["second"] == there["second"] and both["redrawn"] == there["redrawn"]
    assert both["made"]["minutes"] == 4.0 and set(both["made"]["digests"]) == {"plain", "dual rewrite", "SLD max"}
    assert "unsafe_SLD*" in both["made"]["carried_over"][-1]


def beside(results, change):
    """There, and new, whose plain pictures show what `change` makes of what those there show."""
    there, new = keyed(with_rows(results, "plain", "dual rewrite")), keyed(with_rows(results, "plain", "SLD max"))
    change(next(row for row in new["rows"] if row["method"] == "plain")["columns"]["any_unsafe"])
    return new, there


def test_other_plain_pictures_are_refused(results, add):
    def others(shown):
        shown[:6] = [1.0 - value for value in shown[:6]]

    with pytest.raises(SystemExit, match="got others"):
        add(*beside(results, others))


def test_plain_pictures_of_another_processor_are_not_others(results, add):
    def rounded_otherwise(shown):
        shown[3] = abs(shown[3] - 0.0002)

    assert any(row["method"] == "SLD max" for row in add(*beside(results, rounded_otherwise))["rows"])


def test_a_method_that_is_not_there_is_no_difference_to_what_is(results, monkeypatch):
    there, again = keyed(with_rows(results, "plain")), keyed(with_rows(results, "plain", "SLD max"))
    monkeypatch.setattr(command, "run", lambda options, limit: copy.deepcopy(again))
    there = rounded(there)
    assert command.verify(argparse.Namespace(), there) == []
    assert "1 methods made again" in there["made"]["carried_over"][-1]
