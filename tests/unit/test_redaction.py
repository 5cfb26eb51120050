"""The linear map of redaction: which tokens are matched, and the closed form."""

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


def chunk(words: str, length: int = 12, seed: int = 0) -> ChunkStates:
    """A start token, a token for each word, end tokens up to the length; every state is another one."""
    tokens = ["start", *words.split()]
    kinds = [START] + [WORD] * (len(tokens) - 1) + [TAIL] * (length - len(tokens))
    tokens += ["end"] * (length - len(tokens))
    return ChunkStates(tuple(tokens), torch.tensor(kinds), torch.randn(length, 4, generator=generator(seed)))


def test_common_beginning_and_end_are_matched_one_by_one_and_the_middle_to_the_mean():
    one, other = (
        chunk("a cat and a kitchen knife on green", seed=1),
        chunk("a cat and a small red toy on green", seed=2),
    )
    result = targets(one, other)
    assert torch.equal(result[0], one.states[0])
    assert torch.equal(result[1:5], other.states[1:5])
    middle = other.states[5:8].mean(dim=0)
    assert torch.equal(result[5], middle) and torch.equal(result[6], middle)
    assert torch.equal(result[7:9], other.states[8:10])
    # The end token to the end token; padding to the token at the same place.
    assert torch.equal(result[9], other.states[10]) and torch.equal(result[10:], other.states[10:])


def test_a_reference_without_the_object_gives_it_the_mean_of_its_words():
    one, other = chunk("a cat and a knife", seed=1), chunk("a cat", seed=2)
    result = targets(one, other)
    assert torch.equal(result[1:3], other.states[1:3])
    mean = other.states[1:3].mean(dim=0)
    assert all(torch.equal(result[i], mean) for i in (3, 4, 5))


def test_no_token_is_matched_twice_where_beginning_and_end_overlap():
    one, other = chunk("a a", seed=1), chunk("a a a", seed=2)
    result = targets(one, other)
    assert torch.equal(result[1:3], other.states[1:3])


def test_words_stay_where_the_reference_is_empty():
    one, other = chunk("a knife", seed=1), chunk("", seed=2)
    result = targets(one, other)
    assert torch.equal(result[1:3], one.states[1:3])  # it has no words that could be their target
    assert torch.equal(result[3], other.states[1]) and torch.equal(result[4:], other.states[4:])


def test_a_sample_has_all_words_and_a_few_of_the_tail():
    one = chunk("a cat", length=77)
    taken = sample(one)
    assert taken.kinds.tolist() == [WORD] * 2 + [TAIL] * TAIL_SAMPLES and not taken.redacted
    assert torch.equal(taken.states, taken.targets) and torch.equal(taken.states[:3], one.states[1:4])
    assert torch.equal(taken.states[-1], one.states[-1])
    assert sample(one, chunk("a dog", length=77)).redacted


def rows(seed, n):
    return torch.randn(n, WIDTH, generator=generator(seed), dtype=torch.float64)


def test_the_closed_form_is_the_least_of_the_loss():
    before, after, preserved = rows(1, 7), rows(2, 7), rows(3, 30)
    keep, ridge = 0.7, 0.2
    matrix = ridge_map(before, after, preserved, keep, ridge)
    # Brute force: one least squares problem, each term of the loss as rows of its own.
    eye = torch.eye(WIDTH, dtype=torch.float64)
    inputs = torch.cat([before, keep**0.5 * preserved, ridge**0.5 * eye])
    outputs = torch.cat([after, keep**0.5 * preserved, ridge**0.5 * eye])
    assert torch.allclose(matrix.T, torch.linalg.lstsq(inputs, outputs).solution, atol=1e-10)
    # And as the formula has it.
    moment = keep * preserved.T @ preserved + ridge * eye
    formula = (after.T @ before + moment) @ torch.linalg.inv(before.T @ before + moment)
    assert torch.allclose(matrix, formula, atol=1e-10)


def test_keeping_without_end_keeps():
    before, after, preserved = rows(1, 3), rows(2, 3), rows(3, 6)
    matrix = ridge_map(before, after, preserved, 1e9, 1e-3)
    assert torch.allclose(preserved @ matrix.T, preserved, atol=1e-6)
    # What the kept texts say nothing about is free to move: 6 of 12 directions are theirs.
    left = before - before @ torch.linalg.pinv(preserved) @ preserved
    assert (left @ (matrix - torch.eye(WIDTH)).T).norm() > 1.0
    # Redaction without end, and nothing to keep: the reference.
    assert torch.allclose(before @ ridge_map(before, after, preserved, 0.0, 1e-9).T, after, atol=1e-5)


def test_factors_leave_out_weak_directions_alone():
    before, after, preserved = rows(1, 9), rows(2, 9), rows(3, 30)
    after[3:] = before[3:] + 1e-9 * after[3:]
    up, down = residual_factors(before, after, preserved, 1.0, 0.1, cutoff=CUTOFF)
    assert up.shape == (WIDTH, 3) and down.shape == (3, WIDTH)
    exact = ridge_map(before, after, preserved, 1.0, 0.1) - torch.eye(WIDTH)
    assert torch.allclose(up @ down, exact, atol=1e-7)


def texts(count: int, redacted: int, seed: int = 0) -> list[dict[str, Sample]]:
    """Texts of random words; those to redact have a third word of the same kind, which is to become another."""
    gen = generator(seed)
    thing, other = 3 * torch.randn(2, WIDTH, generator=gen)
    examples = []
    for i in range(count):
        states = torch.randn(6, WIDTH, generator=gen)
        after, kinds = states.clone(), torch.tensor([WORD] * 4 + [TAIL] * 2)
        if i < redacted:
            states[2] = thing + 0.1 * torch.randn(WIDTH, generator=gen)
            after[2] = other
        examples.append({"0.0": Sample(states, after, kinds, i < redacted)})
    return examples


def test_a_fit_redacts_and_keeps_texts_that_it_has_not_seen():
    of_kept, of_redacted = held_out_fit(texts(200, 60))
    assert of_redacted < 0.35 and of_kept < 0.1
    closer_kept, farther_redacted = held_out_fit(texts(200, 60), keep=100.0)
    assert closer_kept < of_kept and farther_redacted > of_redacted
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
