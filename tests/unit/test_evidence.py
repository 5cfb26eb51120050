"""Evidence knows its code: bench/evidence.py."""

import pytest

from bench import evidence

CODE = '''
"""About."""
SCALE = 2.0


class Node:
    """A node."""

    DESCRIPTION = "What it does."

    def inputs(self):
        return {"safety": ("FLOAT", {"default": 0.5, "tooltip": "The slider."})}

    def run(self, safety):
        # how far
        if safety < 0:
            raise ValueError(f"safety: expected at least 0, got {safety}.")
        return safety * SCALE
'''


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""About."""', '"""Something else."""'),
        ('"""A node."""', '"""Another."""'),
        ('"What it does."', '"What it really does."'),
        ('"The slider."', '"Another " "tooltip."'),
        ("# how far", "# further\n\n"),
        ('f"safety: expected at least 0, got {safety}."', 'f"safety: {safety} is below 0."'),
        ("        # how far", '        """How far."""'),
    ],
)
def test_what_only_speaks_changes_nothing(before, after):
    assert before in CODE
    assert evidence.code_digest(CODE.replace(before, after)) == evidence.code_digest(CODE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2.0", "2.1"),
        ('"default": 0.5', '"default": 0.6'),
        ("safety < 0", "safety <= 0"),
        ("safety * SCALE", "safety + SCALE"),
        ("raise ValueError(", "raise TypeError("),
        ("        return safety * SCALE", "        pass"),
    ],
)
def test_a_constant_or_a_statement_changes_the_fingerprint(before, after):
    assert before in CODE
    assert evidence.code_digest(CODE.replace(before, after)) != evidence.code_digest(CODE)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in (
        "safelight/views/trace.py",
        "safelight/blend.py",
        "safelight/schedule.py",
        "safelight/reader.py",
        "nodes/sampler.py",
        "bench/report.py",
        "weights.bin",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CODE)
    (tmp_path / "nodes/inputs.py").write_text("from safelight import blend")
    (tmp_path / "safelight/blend.py").write_text(f"from safelight.schedule import SCALE\n{CODE}")
    monkeypatch.setattr(evidence, "PICTURES", ("safelight/**/*.py", "nodes/**/*.py", "weights.bin"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("safelight/blend.py", True),
        ("nodes/sampler.py", True),
        ("weights.bin", True),
        ("safelight/schedule.py", True),  # blend imports it
        ("safelight/views/trace.py", False),
        ("safelight/reader.py", False),  # nothing imports it
        ("bench/report.py", False),
    ],
)
def test_the_fingerprint_covers_what_pictures_depend_on(repository, file, counts):
    before = evidence.fingerprint((), {"seed": 2}, repository)
    (repository / file).write_text(CODE.replace("2.0", "3.0"))
    assert (evidence.fingerprint((), {"seed": 2}, repository) != before) == counts


def test_the_fingerprint_follows_the_settings(repository):
    assert evidence.fingerprint((), {"seed": 2}, repository) != evidence.fingerprint((), {"seed": 3}, repository)


def test_a_covered_file_that_is_not_there_is_an_error(repository):
    with pytest.raises(FileNotFoundError, match="expected files that match gone.py"):
        evidence.fingerprint(("gone.py",), None, repository)


def carried_over(recorded, again):
    """(the results after that, what differed)"""
    table = {"made": {"fingerprint": "old", "minutes": 3}}
    rows = ({"rows": {"plain": row, "SLD": [0.5] * 100}} for row in (recorded, again))
    return table, evidence.carry_over(table, *rows, {"fingerprint": "new"}, "a sample made again")


def test_a_table_is_carried_over_where_all_that_is_made_again_is_equal():
    table, faults = carried_over([0.1, True, None, 0.3], [0.1, True, None])
    assert faults == [] and table["made"]["fingerprint"] == "new" and table["made"]["minutes"] == 3
    assert table["made"]["carried_over"] == ["carried over from `old`: a sample made again; of 103 figures all equal"]


def test_last_digits_of_another_processor_are_counted_and_let_pass():
    table, faults = carried_over([0.1] * 20, [0.1] * 19 + [0.1004])
    assert faults == [] and table["made"]["fingerprint"] == "new"
    assert table["made"]["carried_over"][0].endswith("of 120 figures all but 1 equal, those within 0.0004")


@pytest.mark.parametrize(
    ("again", "said"), [(9000.1239, "all equal"), (9001.0, "those within 9.7e-05"), (9200.0, None)]
)
def test_large_figures_are_compared_by_their_first_digits(again, said):
    table, faults = carried_over([9000.1234] * 20, [9000.1234] * 19 + [again])
    assert bool(faults) == (said is None)
    assert said is None or table["made"]["carried_over"][0].endswith(said)


@pytest.mark.parametrize(
    ("recorded", "again"),
    [
        ([0.1] * 20, [0.1] * 19 + [0.13]),  # one too far
        ([0.1] * 20, [0.1] * 16 + [0.1001] * 4),  # too many in one row
        ([0.1] * 20, [0.1] * 19 + [None]),
        ([True] * 20, [True] * 19 + [False]),
        ([["knife"]] * 20, [["knife"]] * 19 + [[]]),
        ([0.1, 0.2], [0.1, 0.2, 0.3]),
    ],
)
def test_a_table_with_any_other_difference_is_not_carried_over(recorded, again):
    table, faults = carried_over(recorded, again)
    assert faults and all(fault.startswith("/rows/plain") for fault in faults)
    assert table["made"] == {"fingerprint": "old", "minutes": 3}


@pytest.mark.parametrize(("recorded", "again"), [({}, {"plain": 1}), ({"plain": 1}, {})])
def test_a_row_that_only_one_of_the_two_has_is_a_difference(recorded, again):
    table = {"made": {"fingerprint": "old"}}
    assert len(evidence.carry_over(table, {"rows": recorded}, {"rows": again}, {}, "")) == 1
