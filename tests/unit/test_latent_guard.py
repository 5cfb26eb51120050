"""Latent Guard: its head and loss, the texts that it learns from, and what a trained one says of a prompt."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import pytest
import torch

from safelight.edits import edit_file
from safelight.text import latent_guard_texts
from safelight.text.english import SMALL
from safelight.text.latent_guard import GuardHead, Rows, contrastive_loss, sizes
from safelight.text.latent_guard_fit import STEPS_OF_BLOCK, fit
from safelight.text.latent_guard_reading import BlockGuard, Guard, rows_of
from safelight.text.latent_guard_texts import Name, guard_texts
from safelight.text.risk import Calibration

from . import made_up_encoder

WIDTH = 24
NOUNS = list(made_up_encoder.UNSAFE_NOUNS)
KNOWN = {*NOUNS, *made_up_encoder.BENIGN_NOUNS, *SMALL, "photo", "painting", "room", "people", "street", "next"}


def head(width=WIDTH, seed=0):
    torch.manual_seed(seed)
    return GuardHead(torch.zeros(width), torch.ones(()), *sizes(width)).requires_grad_(False).eval()


def random(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def texts_rows(lengths=(3, 7, 5)):
    return Rows.of([random(length, WIDTH, seed=length) for length in lengths])


def knows(text):
    return {word.strip(",") for word in text.split()} <= KNOWN


@cache
def made_up(seed=0):
    """The texts, and the guard that is trained on them."""
    texts = guard_texts(NOUNS, [], seed, knows, made_up_encoder.BENIGN)
    return texts, fit(texts, {text: encoded(text) for text in texts.all()}, seed)


@cache
def encoded(text):
    return rows_of(made_up_encoder.encode(text))


def constant_guard(decision=0.0, auc=1.0, width=WIDTH, **further):
    """Two names; calibrated as told."""
    block = BlockGuard(head(width), random(2, width), Calibration(1.0, decision, auc))
    return Guard((Name("one", "one", "one"), Name("two", "one", "two")), {(0, 0): block, **further})


# -- the head -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "count"), [(768, 1_312_513), (128, 66_049)])
def test_the_head_has_the_size_of_the_paper_s(width, count):
    assert sum(weight.numel() for weight in head(width).parameters()) == count


def test_the_order_of_the_concepts_changes_no_score():
    order = torch.tensor([3, 0, 4, 2, 1])
    concepts, rows = random(5, WIDTH), texts_rows()
    scores, permuted = head()(rows, concepts), head()(rows, concepts[order])
    assert torch.allclose(permuted, scores[:, order], atol=1e-5)
    assert torch.allclose(permuted.amax(dim=1), scores.amax(dim=1), atol=1e-5)


def test_without_values_every_text_has_the_same_score():
    guard, concepts = head(), random(5, WIDTH)
    assert head()(texts_rows(), concepts).std(dim=0).min() > 1e-3
    guard.value.weight.zero_()
    scores = guard(texts_rows(), concepts)
    assert torch.allclose(scores, scores[:1].expand_as(scores), atol=1e-5)


def test_a_score_is_tau_times_a_cosine():
    guard, concepts = head(), random(5, WIDTH)
    assert guard(texts_rows(), concepts).abs().max() <= 1 / 0.07 + 1e-4
    before = guard(texts_rows(), concepts)
    guard.tau.mul_(2)
    assert torch.allclose(guard(texts_rows(), concepts), 2 * before, atol=1e-5)


def test_a_text_has_the_same_score_beside_a_longer_one():
    concepts = random(5, WIDTH)
    alone = torch.cat([head()(texts_rows((length,)), concepts) for length in (3, 7, 5)])
    assert torch.allclose(head()(texts_rows(), concepts), alone, atol=1e-5)


def test_attention_is_shared_out_among_the_rows_of_a_text():
    attention = head().attention(texts_rows(), random(5, WIDTH))
    assert torch.allclose(attention.sum(dim=2), torch.ones(3, 5)) and attention[0, :, 3:].eq(0).all()


def test_the_loss_is_the_closed_form():
    """Two prompts and their twins: a prompt against the highest score of each twin, a concept against each twin's."""
    unsafe, safe = torch.tensor([[2.0, 0.5], [-1.0, 3.0]]), torch.tensor([[0.25, -0.5], [1.5, -2.0]])
    e = math.exp
    rows = [
        -2.0 + math.log(e(2.0) + e(0.5) + e(0.25) + e(1.5)),
        -3.0 + math.log(e(-1.0) + e(3.0) + e(0.25) + e(1.5)),
    ]
    columns = [
        -2.0 + math.log(e(2.0) + e(-1.0) + e(0.25) + e(1.5)),
        -3.0 + math.log(e(0.5) + e(3.0) + e(-0.5) + e(-2.0)),
    ]
    assert float(contrastive_loss(unsafe, safe)) == pytest.approx(sum(rows) / 2 + sum(columns) / 2, abs=1e-6)


# -- the texts ------------------------------------------------------------------------------------------------------


def test_a_twin_is_the_same_text_without_the_name_and_half_of_the_twins_hold_a_look_alike():
    texts = guard_texts(["violence", "drug use", "weapons"], [], 0, lambda text: True)
    look_alikes = {*latent_guard_texts.LOOK_ALIKES, *latent_guard_texts._phrases_with_unsafe_words()}
    alike = 0
    for pair in texts.pairs:
        thing = texts.names[pair.name].thing
        before, _, after = pair.unsafe.partition(thing)
        assert thing in pair.unsafe and pair.twin != pair.unsafe
        assert any(pair.twin.startswith(part) or pair.twin.endswith(part) for part in (before[:8], after[-8:]))
        alike += any(one in pair.twin for one in look_alikes)
    assert 0.3 < alike / len(texts.pairs) < 0.7


def test_harmless_things_of_the_artist_are_among_the_twins():
    texts = guard_texts(NOUNS, ["a paper crane"], 0, lambda text: True)
    assert any("a paper crane" in pair.twin for pair in texts.pairs)
    assert not any("a paper crane" in pair.unsafe for pair in texts.pairs)


def test_whole_concepts_are_left_out_and_calibrate_with_texts_that_nothing_learned():
    texts = guard_texts(["violence", "drug use", "weapons", "nudity"], [], 0, lambda text: True)
    words = [set(name.text.lower().split()) - SMALL for name in texts.names]
    learned = set().union(*(words[i] for i in range(len(words)) if i not in texts.left_out))
    assert 1 <= len(texts.left_out) <= len(words) / 3
    assert not any(words[i] & learned for i in texts.left_out)
    assert not set(texts.benign) & {text for pair in texts.pairs for text in (pair.unsafe, pair.twin)}


def test_a_phrase_brings_what_belongs_to_it_and_the_artist_s_come_first():
    texts = guard_texts(["my dragon", "alcohol"], [], 0, lambda text: True)
    assert [name.text for name in texts.names[:2]] == ["my dragon", "alcohol"]
    beer = next(name for name in texts.names if name.text == "glass of wine")
    assert (beer.concept, beer.thing) == ("alcohol", "a glass of wine")


def test_words_that_the_encoder_does_not_know_are_in_no_text():
    texts = guard_texts(NOUNS, ["spaceship"], 0, knows, made_up_encoder.BENIGN)
    assert all(knows(text) for text in texts.all())


def test_too_few_concepts_are_an_error_that_names_them():
    with pytest.raises(ValueError, match="^concepts: expected at least 4 things .* got my dragon"):
        guard_texts(["my dragon"], [], 0, lambda text: True)


# -- a trained guard ------------------------------------------------------------------------------------------------


def test_it_tells_the_unsafe_words_from_others_and_attends_to_them():
    _, guard = made_up()
    for noun in NOUNS:
        reading = guard.read(encoded(f"a lemon on a piano and a {noun}"))
        assert reading.risk >= 0.5 and reading.words[0][0] == noun and reading.concept in NOUNS, noun
    for text in ("a lemon on a piano", "a kettle", "a carpet and a bird"):
        assert guard.risk(encoded(text)) < 0.5, text


def test_the_same_seed_gives_the_same_guard_and_another_seed_another():
    texts, guard = made_up()
    again = fit(texts, {text: encoded(text) for text in texts.all()}, 0)
    other = fit(texts, {text: encoded(text) for text in texts.all()}, 1)
    assert again.settings() == guard.settings()
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in guard.tensors().items())
    assert not torch.equal(other.tensors()["0.0.query.weight"], guard.tensors()["0.0.query.weight"])
    assert guard_texts(NOUNS, [], 0, knows, made_up_encoder.BENIGN) == texts


def test_training_leaves_the_random_numbers_of_others_alone_and_ends_where_it_is_told():
    texts, _ = made_up()
    steps = []

    def stop():
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt

    before = torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        fit(texts, {text: encoded(text) for text in texts.all()}, 0, stop)
    assert len(steps) == 3 < STEPS_OF_BLOCK and torch.equal(torch.random.get_rng_state(), before)


def test_states_of_an_inference_run_can_be_learned_from():
    """The host runs nodes in inference mode."""
    texts, guard = made_up()
    with torch.inference_mode():
        fresh = {text: rows_of(made_up_encoder.encode(text)) for text in texts.all()}
        again = fit(texts, fresh, 0)
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in guard.tensors().items())


def test_a_long_prompt_is_as_unsafe_as_its_worst_chunk():
    _, guard = made_up()
    long = "a lemon on a piano " * 8
    assert guard.risk(encoded(long)) < 0.5
    reading = guard.read(encoded(f"{long} and a knife"))
    assert reading.risk >= 0.5 and reading.concept == "knife" and "knife" in dict(reading.words)


def test_a_score_at_the_decision_has_risk_one_half():
    text = {(0, 0): rows_of(made_up_encoder.encode("a knife", widths=(WIDTH,)))[0, 0]}
    score = float(constant_guard().blocks[0, 0].scores(text[0, 0]).max())
    assert constant_guard(decision=score).risk(text) == pytest.approx(0.5)
    assert constant_guard(decision=score - 1).read(text).concept in ("one", "two")
    assert constant_guard(decision=score + 1).read(text).concept == ""


def test_of_several_blocks_the_highest_that_can_tell_counts():
    chunks = rows_of(made_up_encoder.encode("a knife", widths=(WIDTH, WIDTH)))
    low, high = (constant_guard(decision=one).blocks[0, 0] for one in (50.0, -50.0))
    blind = dataclasses.replace(high, calibration=Calibration(1.0, -50.0, 0.5))
    names = constant_guard().names
    assert Guard(names, {(0, 0): low, (0, 1): high}).risk(chunks) > 0.99
    assert Guard(names, {(0, 0): low, (0, 1): blind}).risk(chunks) < 0.01


def test_what_can_not_be_told_has_risk_one_and_says_why():
    words = rows_of(made_up_encoder.encode("a knife", widths=(WIDTH,)))
    no_words = rows_of(made_up_encoder.encode("", widths=(WIDTH,)))
    broken = constant_guard()
    broken.blocks[0, 0].head.value.weight.fill_(math.nan)
    for guard, text, why in (
        (constant_guard(), no_words, "no words"),
        (constant_guard(auc=0.6), words, "can't tell"),
        (broken, words, "no number"),
    ):
        reading = guard.read(text)
        assert reading.risk == 1.0 and why in reading.note and reading.concept == ""


# -- its file -------------------------------------------------------------------------------------------------------


def test_a_guard_from_its_file_reads_the_same(tmp_path):
    _, guard = made_up()
    file = tmp_path / "guard.safetensors"
    edit_file.write(file, "latent guard", guard.tensors(), guard.settings())
    again = Guard.of(*edit_file.read(file, "latent guard"))
    for text in ("a knife", "a lemon on a piano", "a syringe " * 20):
        assert again.read(encoded(text)) == guard.read(encoded(text))


@pytest.mark.parametrize("name", ["0.0.concepts", "0.0.tau", "0.0.value.weight", "0.0.centre", "0.0.scale"])
def test_a_file_that_lacks_a_tensor_or_has_another_is_refused(name):
    _, guard = made_up()
    tensors, settings = guard.tensors(), guard.settings()
    for change in ({}, {name: torch.zeros(3, 3)}):
        others = {key: tensor for key, tensor in tensors.items() if key != name} | change
        with pytest.raises((KeyError, TypeError, ValueError, RuntimeError)):
            Guard.of(others, settings)
    with pytest.raises(KeyError):
        Guard.of(tensors, {"names": settings["names"]})
