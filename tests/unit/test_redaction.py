"""The linear map of redaction: which tokens answer to which, and the closed form."""

from __future__ import annotations

import math

import torch

from safelight.edits.redaction import (
    CUTOFF,
    START,
    TAIL,
    TAIL_SAMPLES,
    WORD,
    ChunkStates,
    LinearMap,
    Sample,
    fit,
    held_out_fit,
    residual_factors,
    ridge_map,
    sample,
    split,
    targets,
)

WIDTH = 12


def generator(seed):
    return torch.Generator().manual_seed(seed)


def piece(words: str, length: int = 12, seed: int = 0) -> ChunkStates:
    """A start token, a token for each word, end tokens up to the length; every state is another one."""
    tokens = ["start", *words.split()]
    kinds = [START] + [WORD] * (len(tokens) - 1) + [TAIL] * (length - len(tokens))
    tokens += ["end"] * (length - len(tokens))
    return ChunkStates(tuple(tokens), torch.tensor(kinds), torch.randn(length, 4, generator=generator(seed)))


def test_common_beginning_and_end_answer_one_by_one_and_the_middle_to_the_mean():
    one, other = (
        piece("a cat and a kitchen knife on green", seed=1),
        piece("a cat and a small red toy on green", seed=2),
    )
    found = targets(one, other)
    assert torch.equal(found[0], one.states[0])
    assert torch.equal(found[1:5], other.states[1:5])
    middle = other.states[5:8].mean(dim=0)
    assert torch.equal(found[5], middle) and torch.equal(found[6], middle)
    assert torch.equal(found[7:9], other.states[8:10])
    # The end token to the end token; padding to what stands in the same place.
    assert torch.equal(found[9], other.states[10]) and torch.equal(found[10:], other.states[10:])


def test_a_reference_without_the_thing_gives_it_the_mean_of_its_words():
    one, other = piece("a cat and a knife", seed=1), piece("a cat", seed=2)
    found = targets(one, other)
    assert torch.equal(found[1:3], other.states[1:3])
    mean = other.states[1:3].mean(dim=0)
    assert all(torch.equal(found[i], mean) for i in (3, 4, 5))


def test_no_token_answers_twice_where_beginning_and_end_overlap():
    one, other = piece("a a", seed=1), piece("a a a", seed=2)
    found = targets(one, other)
    assert torch.equal(found[1:3], other.states[1:3])


def test_an_empty_reference_gives_words_what_it_has():
    one, other = piece("a knife", seed=1), piece("", seed=2)
    found = targets(one, other)
    assert torch.equal(found[1:3], one.states[1:3])  # it has no words: nothing for them to go to
    assert torch.equal(found[3], other.states[1]) and torch.equal(found[4:], other.states[4:])


def test_a_sample_has_all_words_and_a_few_of_the_tail():
    one = piece("a cat", length=77)
    taken = sample(one)
    assert taken.kinds.tolist() == [WORD] * 2 + [TAIL] * TAIL_SAMPLES and not taken.redacted
    assert torch.equal(taken.states, taken.targets) and torch.equal(taken.states[:3], one.states[1:4])
    assert torch.equal(taken.states[-1], one.states[-1])
    assert sample(one, piece("a dog", length=77)).redacted


def rows(seed, n):
    return torch.randn(n, WIDTH, generator=generator(seed), dtype=torch.float64)


def test_the_closed_form_is_the_least_of_the_loss():
    before, after, kept = rows(1, 7), rows(2, 7), rows(3, 30)
    keep, ridge = 0.7, 0.2
    matrix = ridge_map(before, after, kept, keep, ridge)
    # Brute force: one least squares problem, each term of the loss as rows of its own.
    eye = torch.eye(WIDTH, dtype=torch.float64)
    inputs = torch.cat([before, keep**0.5 * kept, ridge**0.5 * eye])
    outputs = torch.cat([after, keep**0.5 * kept, ridge**0.5 * eye])
    assert torch.allclose(matrix.T, torch.linalg.lstsq(inputs, outputs).solution, atol=1e-10)
    # And as the formula has it.
    moment = keep * kept.T @ kept + ridge * eye
    formula = (after.T @ before + moment) @ torch.linalg.inv(before.T @ before + moment)
    assert torch.allclose(matrix, formula, atol=1e-10)


def test_keeping_without_end_keeps():
    before, after, kept = rows(1, 3), rows(2, 3), rows(3, 6)
    matrix = ridge_map(before, after, kept, 1e9, 1e-3)
    assert torch.allclose(kept @ matrix.T, kept, atol=1e-6)
    # What the kept texts say nothing about is free to move: 6 of 12 directions are theirs.
    left = before - before @ torch.linalg.pinv(kept) @ kept
    assert (left @ (matrix - torch.eye(WIDTH)).T).norm() > 1.0
    # Redaction without end, and nothing to keep: the reference.
    assert torch.allclose(before @ ridge_map(before, after, kept, 0.0, 1e-9).T, after, atol=1e-5)


def test_factors_leave_out_weak_directions_alone():
    before, after, kept = rows(1, 9), rows(2, 9), rows(3, 30)
    after[3:] = before[3:] + 1e-9 * after[3:]
    up, down = residual_factors(before, after, kept, 1.0, 0.1, cutoff=CUTOFF)
    assert up.shape == (WIDTH, 3) and down.shape == (3, WIDTH)
    exact = ridge_map(before, after, kept, 1.0, 0.1) - torch.eye(WIDTH)
    assert torch.allclose(up @ down, exact, atol=1e-7)


def texts(count: int, redacted: int, seed: int = 0) -> list[dict[str, Sample]]:
    """Texts of random words; those to redact have a third word of the same kind, which is to become another."""
    gen = generator(seed)
    thing, other = 3 * torch.randn(2, WIDTH, generator=gen)
    found = []
    for i in range(count):
        states = torch.randn(6, WIDTH, generator=gen)
        after, kinds = states.clone(), torch.tensor([WORD] * 4 + [TAIL] * 2)
        if i < redacted:
            states[2] = thing + 0.1 * torch.randn(WIDTH, generator=gen)
            after[2] = other
        found.append({"0.0": Sample(states, after, kinds, i < redacted)})
    return found


def test_a_fit_redacts_and_keeps_texts_that_it_has_not_seen():
    kept, redacted = held_out_fit(texts(200, 60))
    assert redacted < 0.35 and kept < 0.1
    kept_more, redacted_less = held_out_fit(texts(200, 60), keep=100.0)
    assert kept_more < kept and redacted_less > redacted
    assert all(math.isnan(each) for each in held_out_fit(texts(20, 3)))


def test_the_start_token_and_the_other_kind_stay():
    made = fit(texts(60, 20))["0.0"]
    states = torch.randn(2, 5, WIDTH, generator=generator(5))
    kinds = torch.tensor([[START, WORD, WORD, TAIL, TAIL]] * 2)
    moved = made.apply(states, kinds)
    assert torch.equal(moved[:, 0], states[:, 0]) and not torch.equal(moved[:, 1], states[:, 1])
    assert torch.allclose(moved[:, 3:], states[:, 3:], atol=1e-5)  # no tail was to change


def test_a_fit_goes_through_its_tensors():
    made = fit(texts(60, 20))["0.0"]
    back = LinearMap.of_tensors(made.tensors())
    states, kinds = torch.randn(1, 6, WIDTH, generator=generator(6)), torch.tensor([[WORD] * 4 + [TAIL] * 2])
    assert torch.equal(back.apply(states, kinds), made.apply(states, kinds))


def test_a_fifth_of_both_groups_is_held_out():
    learned, held = split(texts(50, 20))
    assert (len(learned), len(held)) == (40, 10)
    assert sum(each["0.0"].redacted for each in held) == 4
