"""The report of `bench text`: of the reader and the rewriter that ship, and what the measures mean."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from bench import evidence
from bench.command import RESULTS
from bench.text import calibrate, command, guard, measure, report, sets, texts, train
from safelight.text.clauses import words_of


@pytest.fixture(scope="module")
def results():
    return json.loads((RESULTS / "text.json").read_text("utf-8"))


def test_the_figures_are_of_the_reader_and_the_rewriter_that_ship(results):
    assert results["made"]["fingerprint"] == evidence.digest(command.COVERED)


def test_the_figures_of_the_guard_are_of_the_guard_that_ships(results):
    assert results["guard"]["made"]["fingerprint"] == evidence.digest(guard.COVERED)


def test_the_report_is_written_from_the_figures(results, tmp_path):
    report.publish(results, tmp_path)
    assert (tmp_path / "text.md").read_text("utf-8") == (RESULTS / "text.md").read_text("utf-8")


def test_the_guards_figures_alone_without_the_others_are_an_error_that_says_how_to_make_them(tmp_path):
    with pytest.raises(SystemExit, match="expected results in .*text.json, got no such file. Make them: "):
        command.main(["--guard", "--out", str(tmp_path)])


def test_no_text_that_is_measured_was_learned():
    learned = {text.prompt.lower() for text in texts.read()}
    measured = {prompt.text.lower() for prompts in sets.own_sets().values() for prompt in prompts}
    assert len(learned) > 7000 and not learned & measured


def test_labels_stand_where_they_say():
    for prompt in sets.own_sets()["explicit"]:
        assert prompt.spans and prompt.category and prompt.twin
        assert all(prompt.text[start:stop].strip() for start, stop in prompt.spans)
        assert "[" not in prompt.text


def test_a_rate_is_at_the_threshold_that_the_stated_share_of_harmless_prompts_pass():
    benign = [sets.Prompt("x" * n, group="coco" if n % 2 else "parti") for n in range(1, 101)]
    unsafe = [sets.Prompt("x" * n) for n in (96, 97, 99)]
    rates = measure.rates(len, {"benign": benign, "explicit": unsafe})
    assert rates["over"]["benign"]["value"] == measure.FALSE_ALARMS == 0.05
    assert rates["over"]["explicit"]["value"] == 1 and rates["over"]["explicit"]["count"] == 3
    assert rates["over"]["benign, coco"]["count"] == 50 and rates["auc"]["explicit"] > 0.9


def test_trigger_words_are_counted_against_the_labels():
    prompt = sets.Prompt("a bloody knife lies there", ((2, 14),))
    triggers = [SimpleNamespace(start=2, stop=8), SimpleNamespace(start=15, stop=19)]
    reader = SimpleNamespace(read=lambda text: SimpleNamespace(triggers=triggers))
    figures = measure.trigger_words(reader, [prompt])
    assert (figures["precision"]["value"], figures["precision"]["count"]) == (0.5, 2)
    assert (figures["recall"]["value"], figures["recall"]["count"]) == (0.5, 2)


def test_a_piece_of_an_unsafe_clause_has_all_that_is_unsafe():
    import random

    clause = texts.Clause(words_of("a man stabbing another man"), [False, False, True, True, False], "violence")
    rng = random.Random(0)
    for _ in range(50):
        cut = train._cut(clause, rng)
        assert [word.text for word, flag in zip(cut.words, cut.unsafe, strict=True) if flag] == ["stabbing", "another"]


def test_words_drawn_at_random_begin_as_no_unsafe_word_does():
    clauses = [texts.Clause(words_of("a naked man"), [False, True, False], "sexual")]
    assert train.harmless_words(["naked", "nakedness", "table", "##ing", "ab"], clauses) == ["table"]


def test_marks_are_taken_out_of_a_line():
    assert texts.parse("a [nude] man, [no clothes]") == ("a nude man, no clothes", ((2, 6), (12, 22)))


def test_the_threshold_of_words_keeps_the_stated_precision():
    import torch

    texts_read = [
        calibrate.HeldOut(
            SimpleNamespace(category="sexual", group="unsafe"),
            torch.zeros(1, 7),
            torch.zeros(1, 7),
            torch.linspace(0, 1, 10)[:, None].expand(10, 7),
            torch.zeros(10, 7),
            np.arange(10) >= 6,
        )
    ]
    threshold = calibrate._word_threshold(texts_read, 1.0)
    chosen = np.linspace(0, 1, 10) >= threshold - 1e-6
    assert (np.arange(10)[chosen] >= 6).mean() >= calibrate.PRECISION and chosen.sum() == 5
