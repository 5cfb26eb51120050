"""The concept vector of constructed states: its mean, its places, its columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from safelight.text.concept_vector import ConceptVector, concept_vector, form_of
from safelight.text.encoding import Encoding, Part


def encoding(states, blocks=None, chunks=1, pooled=None, weights=None):
    """Start token, words, and the last two positions of each chunk as its tail; states [T, W]."""
    length, width = states.shape
    size = length // chunks
    place = torch.arange(length) % size
    content = (place > 0) & (place < size - 2)
    return Encoding(
        states[None],
        None if pooled is None else pooled[None],
        content,
        place >= size - 2,
        torch.arange(length) // size,
        place,
        torch.ones(length) if weights is None else weights,
        tuple("word" if c else "" for c in content),
        (Part(0, length, blocks or ((0, width),)),),
    )


def random(length=7, width=4, seed=0):
    return torch.randn(length, width, generator=torch.Generator().manual_seed(seed))


def pair(v, seed, pooled=None):
    base = random(seed=seed)
    return encoding(base + v, pooled=pooled), encoding(base, pooled=None if pooled is None else torch.zeros(3))


def test_it_is_the_mean_difference_position_by_position():
    v = random(seed=9)
    vector = concept_vector([pair(v, 1), pair(3 * v, 2)])
    assert torch.allclose(vector.rows[0], 2 * v, atol=1e-6)


def test_the_pooled_output_has_a_mean_of_its_own():
    vector = concept_vector([pair(random(seed=9), 1, torch.tensor([1.0, 0, 2])), pair(random(), 2, torch.ones(3))])
    assert torch.allclose(vector.pooled, torch.tensor([1.0, 0.5, 1.5]))


def test_what_was_added_is_taken_away_and_the_start_token_stays():
    v, states_before = random(seed=9), random(seed=5)
    attacked = encoding(states_before + 1.5 * v)
    states, _ = concept_vector([pair(v, 1)]).subtract(attacked, attacked.states, None, 1.5)
    assert torch.allclose(states[0, 1:], states_before[1:], atol=1e-5)
    assert torch.equal(states[0, 0], attacked.states[0, 0])


def test_all_tokens_but_the_start_move():
    given = encoding(random())
    states, _ = concept_vector([pair(torch.ones(7, 4), 1)]).subtract(given, given.states, None, 1.0)
    assert (states != given.states).any(dim=-1)[0].nonzero().flatten().tolist() == [1, 2, 3, 4, 5, 6]


def test_every_chunk_of_a_longer_prompt_loses_the_rows_of_its_places():
    v = random(seed=9)
    given = encoding(random(14, seed=3), chunks=2)
    rows = concept_vector([pair(v, 1)]).at(given)
    assert torch.equal(rows[:7], rows[7:])
    assert torch.allclose(rows[:7], v, atol=1e-6)


def test_a_place_behind_the_last_one_has_the_last_ones_row():
    v = random(seed=9)
    rows = concept_vector([pair(v, 1)]).at(encoding(random(9)))
    assert torch.equal(rows[7], rows[6]) and torch.equal(rows[8], rows[6]) and rows[6].abs().max() > 0


def test_places_that_only_some_pairs_reach_are_the_mean_of_those():
    short, long = torch.ones(5, 4), torch.full((7, 4), 3.0)
    zero = (encoding(torch.zeros(5, 4)), encoding(torch.zeros(7, 4)))
    vector = concept_vector([(encoding(short), zero[0]), (encoding(long), zero[1])])
    assert vector.rows[0][:, 0].tolist() == [2.0] * 5 + [3.0] * 2


def test_a_place_counts_where_both_prompts_of_a_pair_reach_it():
    """One of five places beside one of seven, either way round: places 5 and 6 are the other pair's alone."""
    short, long = encoding(torch.ones(5, 4)), encoding(torch.full((7, 4), 3.0))
    zeros = encoding(torch.zeros(7, 4))
    assert concept_vector([(long, short)]).rows[0][:, 0].tolist() == [2.0] * 5
    assert concept_vector([(short, zeros), (long, zeros)]).rows[0][:, 0].tolist() == [2.0] * 5 + [3.0] * 2
    assert concept_vector([(long, zeros), (zeros, short)]).rows[0][:, 0].tolist() == [1.0] * 5 + [3.0] * 2


def test_a_place_that_a_prompt_leaves_out_does_not_count_for_it():
    """Of three tokens at places 0, 1 and 3 of their chunk, beside a prompt with all four."""
    given = encoding(torch.ones(4, 4))
    gap = replace(
        encoding(torch.full((3, 4), 5.0)), position=torch.tensor([0, 1, 3]), chunk=torch.zeros(3, dtype=torch.long)
    )
    zeros = encoding(torch.zeros(4, 4))
    assert concept_vector([(gap, zeros)]).rows[0][:, 0].tolist() == [5.0, 5.0, 0.0, 5.0]
    assert concept_vector([(given, gap)]).rows[0][:, 0].tolist() == [-4.0, -4.0, 0.0, -4.0]
    assert concept_vector([(gap, zeros), (given, zeros)]).rows[0][:, 0].tolist() == [3.0, 3.0, 1.0, 3.0]


def two_parts(first, second):
    length, width = first.shape
    one, other = encoding(first), encoding(second)
    return replace(
        one,
        states=torch.cat([first, second])[None],
        **{name: torch.cat([getattr(one, name), getattr(other, name)]) for name in ("content", "tail", "position")},
        chunk=torch.arange(2 * length) // length,
        weights=torch.ones(2 * length),
        words=one.words + other.words,
        parts=(Part(0, length, ((0, width),)), Part(length, 2 * length, ((0, width),))),
    )


def test_one_part_that_differs_is_enough_and_one_that_is_no_number_is_too_much():
    zero, v = torch.zeros(7, 4), random(seed=9)
    for moved in ((v, zero), (zero, v)):
        found = concept_vector([(two_parts(*moved), two_parts(zero, zero))])
        assert all(torch.allclose(rows, part, atol=1e-6) for rows, part in zip(found.rows, moved, strict=True))
    for broken in ((v, torch.full((7, 4), torch.nan)), (torch.full((7, 4), torch.nan), v)):
        with pytest.raises(ValueError, match="^clip: expected finite states"):
            concept_vector([(two_parts(*broken), two_parts(zero, zero))])


def test_a_weight_scales_what_is_taken():
    weights = torch.tensor([1.0, 1, 0, 2, 1, 1, 1])
    given = encoding(torch.zeros(7, 4), weights=weights)
    states, _ = concept_vector([pair(torch.ones(7, 4), 1)]).subtract(given, given.states, None)
    assert torch.allclose(states[0, :, 0], torch.tensor([0.0, -1, 0, -2, -1, -1, -1]), atol=1e-6)


def test_strength_zero_gives_the_very_tensors():
    given = encoding(random(), pooled=torch.ones(3))
    states, pooled = concept_vector([pair(random(seed=9), 1, torch.ones(3))]).subtract(
        given, given.states, given.pooled, 0.0
    )
    assert states is given.states and pooled is given.pooled


def test_a_file_brings_it_back():
    made = concept_vector([pair(random(seed=9), 1, torch.ones(3))])
    back = ConceptVector.of_tensors(made.tensors())
    assert torch.equal(back.rows[0], made.rows[0]) and back.blocks == made.blocks
    assert torch.equal(back.pooled, made.pooled) and back.form == made.form


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"states.0": torch.zeros(7, 4)},
        {"other": torch.zeros(3)},
        {"states.0": torch.zeros(4), "blocks.0": torch.tensor([[0, 4]])},
        {"states.0": torch.full((7, 4), torch.nan), "blocks.0": torch.tensor([[0, 4]])},
    ],
)
def test_other_tensors_are_no_vector(tensors):
    with pytest.raises(ValueError, match="vector: "):
        ConceptVector.of_tensors(tensors)


def test_another_text_encoder_is_an_error_that_names_both():
    vector = concept_vector([pair(random(seed=9), 1)])
    for other in (encoding(random(width=6)), encoding(random(), blocks=((0, 1), (1, 4)))):
        with pytest.raises(ValueError, match="vector: ") as error:
            vector.subtract(other, other.states, None)
        assert form_of(other) in str(error.value) and vector.form in str(error.value)


def test_pairs_that_say_nothing_are_an_error():
    with pytest.raises(ValueError, match="^unsafe_prompts: .*the same states"):
        concept_vector([pair(torch.zeros(7, 4), 1)])
    with pytest.raises(ValueError, match="^unsafe_prompts: expected prompts, got none"):
        concept_vector([])


def test_a_prompt_longer_than_a_chunk_is_named():
    with pytest.raises(ValueError, match="^safe_prompts: expected at most 7 tokens in a line.* got more in line 1"):
        concept_vector([(encoding(random()), encoding(random(14), chunks=2))])
