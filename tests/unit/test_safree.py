"""SAFREE's formulas, on vectors small enough to do by hand."""

import math

import pytest
import torch

from safelight.guidance.progress import clamp_start
from safelight.guidance.safree import Safree, window
from safelight.text.safree import (
    VARIANTS,
    PromptChunk,
    filter_prompt,
    last_step,
    projected,
    span,
    triggers,
)

RELEASED, PRINTED = VARIANTS
X, Y, Z = torch.eye(3).unbind()


def projector(vectors):
    """V pinv(V^T V) V^T, the paper's form, for vectors [n, W]."""
    v = torch.stack(list(vectors)).double().T
    return v @ torch.linalg.pinv(v.T @ v) @ v.T


def basis(*vectors):
    return span(torch.stack(vectors))


def test_the_span_is_the_papers_projector():
    vectors = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    q = span(vectors)
    assert torch.allclose(q @ q.T, projector(vectors), atol=1e-9)


@pytest.mark.parametrize("more", [X + Y, 3 * X, X + 1e-8 * Z, 0 * X], ids=["sum", "multiple", "rounded", "zero"])
def test_a_vector_that_adds_no_direction_changes_nothing(more):
    assert basis(X, Y, more).shape == (3, 2)
    assert torch.allclose(basis(X, Y, more) @ basis(X, Y, more).T, projector([X, Y]), atol=1e-7)


@pytest.mark.parametrize(("difference", "rank"), [(1e-2, 2), (1e-4, 1)])
def test_what_differs_by_more_than_rounding_spans_a_direction(difference, rank):
    assert basis(X, X + difference * Z).shape == (3, rank)


def test_vectors_of_zeros_span_nothing():
    assert span(torch.zeros(2, 3)).shape == (3, 0)


def test_the_two_orders_of_the_projections():
    # Concept x; the prompt's subspace is the line of x + y; the token is x. Onto the line: (1/2, 1/2); less its x:
    # (0, 1/2). The other way: x less its x is nothing, and that stays nothing on the line.
    concept, prompt = basis(X), basis(X + Y)
    assert torch.allclose(projected(X, concept, prompt, RELEASED), 0.5 * Y.double())
    assert torch.allclose(projected(X, concept, prompt, PRINTED), torch.zeros(3).double())
    # The token y: (1/2, 1/2) less its x is (0, 1/2); y has no x, so on the line it is (1/2, 1/2): x is back in it.
    assert torch.allclose(projected(Y, concept, prompt, RELEASED), 0.5 * Y.double())
    assert torch.allclose(projected(Y, concept, prompt, PRINTED), 0.5 * (X + Y).double())


def test_a_trigger_is_what_takes_the_prompt_out_of_the_subspace_when_masked():
    # Distances from the line of x: 2, 1, 1. For the first, the others' mean is 1, and 2 >= 1.01; for the second it is
    # 1.5, and 1 < 1.515.
    masked = torch.stack([2 * Y, 5 * X + Y, Z])
    assert triggers(masked, basis(X)).tolist() == [True, False, False]


@pytest.mark.parametrize(("distance", "expected"), [(1.0099, False), (1.0101, True)])
def test_a_trigger_lies_at_least_one_percent_beyond_the_mean_of_the_others(distance, expected):
    assert triggers(torch.stack([distance * Y, Y, Y]), basis(X)).tolist() == [expected, False, False]


def test_tokens_equally_far_are_no_triggers_and_one_inside_the_subspace_is():
    assert not triggers(torch.stack([Y, Z, Y]), basis(X)).any()
    assert triggers(torch.stack([X, 2 * X]), basis(X)).all()  # 0 >= 1.01 * 0: nothing of such a prompt lies outside


def test_a_single_token_is_a_trigger():
    assert triggers(Y[None], basis(X)).tolist() == [True]


def test_the_released_filter_turns_at_its_middle_and_ends_at_0_and_10():
    assert last_step(1 - 0.5333, RELEASED) == 5
    assert last_step(1.0, RELEASED) == 0
    assert last_step(0.0, RELEASED) == 10
    # beta .55: 5 (5.5 - 5.333) = .835, its sigmoid .69739, times 10
    assert last_step(0.45, RELEASED) == 7


def test_the_printed_filter():
    assert last_step(1.0, PRINTED) == 5  # sigmoid(0) = 1/2
    assert last_step(0.0, PRINTED) == 7  # 10 / (1 + e^-1) = 7.31
    assert last_step(-1.0, PRINTED) == 9  # 10 / (1 + e^-2) = 8.81


@pytest.mark.parametrize("t", range(11))
def test_the_window_holds_the_first_steps_of_50_up_to_and_with_t(t):
    schedule = window(t, 0.0)
    steps = [schedule.weight(i / 50, 1.0) for i in range(50)]
    assert steps == [1.0] * (t + 1) + [0.0] * (49 - t)


@pytest.mark.parametrize("t", [0, 5, 10])
def test_a_noise_level_beside_one_of_the_50_falls_on_its_side(t):
    schedule = window(t, 0.0)
    assert schedule.weight((t + 0.4) / 50, 1.0) == 1.0 and schedule.weight((t + 0.6) / 50, 1.0) == 0.0


@pytest.mark.parametrize(("start", "says"), [(0.0, False), (0.1, False), (0.109, False), (0.111, True), (0.5, True)])
def test_a_run_that_starts_behind_its_window_says_so(start, says):
    guided, unguided = (Safree(1.0, 5, triggers, ["own"]).settings(lambda: start) for triggers in (True, False))
    assert any("behind the steps" in note for note in guided.notes) == says
    assert unguided.notes == ("own",), "without triggers there is no window"


def test_the_window_is_a_share_of_shorter_runs_and_never_empty():
    assert [window(10, 0.0).weight(i / 20, 0.5) for i in range(6)] == [0.5] * 5 + [0.0]
    assert [window(0, 0.0).weight(i / 4, 1.0) for i in range(4)] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("start", [0.0, 0.3, 0.999999, 1.0])
def test_a_run_that_starts_behind_the_window_has_its_first_step_in_it(start):
    starts = [start, start + (1 - start) / 2]
    schedule = window(0, start)
    assert schedule.weight(starts[0], 1.0) == 1.0
    assert clamp_start(schedule, 1.0, starts) == (0.0, [])  # nothing to lower, and no error
    if start < 0.99:
        assert schedule.weight(starts[1], 1.0) == 0.0


def prompt_chunk(masked, concepts, **options):
    """Start token, words, end token and a padding token, in columns 0 to 3."""
    words = len(masked)
    given = {
        "block": (0, 0),
        "columns": slice(0, 3),
        "attended": torch.arange(words + 2),
        "words": torch.arange(1, words + 1),
        **options,
    }
    return PromptChunk(masked=torch.stack(masked), concepts=torch.stack(concepts), **given)


STATES = torch.stack([Z, X + Y, Z, Y + Z, X])  # start, two words, end, padding
MASKED = [2 * Y + Z, Z]  # without the first word the prompt lies farther from x


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_triggers_change_and_the_similarity_is_of_all_attended_tokens(variant):
    filtered = filter_prompt(STATES, STATES, torch.ones(5), [prompt_chunk(MASKED, [X])], variant)
    assert filtered.triggers.tolist() == [False, True, False, False, False]
    # The prompt's subspace is the plane of y and z, so in either order a token loses its x.
    assert torch.allclose(filtered.states[1], Y)
    assert torch.equal(filtered.states[[0, 2, 3, 4]], STATES[[0, 2, 3, 4]])
    # start 1, first word 1/sqrt 2, second word 1, end 1; the padding, which would be 0, is not attended
    assert filtered.similarity == pytest.approx((3 + 1 / math.sqrt(2)) / 4)
    assert filtered.t == last_step(filtered.similarity, variant)


def test_a_weighted_trigger_is_the_weighted_form_of_its_projected_state():
    empty = 0.25 * torch.ones(5, 3)
    weights = torch.tensor([1.0, 1.5, 1.0, 1.0, 1.0])
    weighted = empty + weights[:, None] * (STATES - empty)
    filtered = filter_prompt(weighted, STATES, weights, [prompt_chunk(MASKED, [X])], RELEASED)
    assert torch.allclose(filtered.states[1], empty[1] + 1.5 * (Y - empty[1]))
    assert torch.equal(filtered.states[[0, 2, 3, 4]], weighted[[0, 2, 3, 4]])


def test_a_token_that_lies_in_the_concepts_counts_as_turned_by_a_right_angle():
    # Everything attended is x, which the projection leaves nothing of: similarity 0, the longest window.
    filtered = filter_prompt(X.repeat(4, 1), X.repeat(4, 1), torch.ones(4), [prompt_chunk([Y, X + Y], [X])], RELEASED)
    assert filtered.similarity == 0.0 and filtered.t == 10


def test_blocks_are_projected_apart_and_the_one_that_turns_most_decides():
    wide = torch.cat([STATES, STATES], dim=1)
    calm = prompt_chunk([Z, 2 * Y + Z], [X], block=(0, 1), columns=slice(3, 6))  # the second word is its trigger
    both = filter_prompt(wide, wide, torch.ones(5), [prompt_chunk(MASKED, [X]), calm], RELEASED)
    assert both.triggers.tolist() == [False, True, True, False, False]
    assert torch.allclose(both.states[1], torch.cat([Y, X + Y]))
    assert torch.allclose(both.states[2], torch.cat([Z, Z]))
    steep = prompt_chunk([Z, 2 * Y + Z], [Z], block=(0, 1), columns=slice(3, 6))
    alone = filter_prompt(wide, wide, torch.ones(5), [steep], RELEASED).similarity
    assert filter_prompt(wide, wide, torch.ones(5), [prompt_chunk(MASKED, [X]), steep], RELEASED).similarity == alone


def test_chunks_of_a_block_are_prompts_by_themselves_with_one_similarity():
    longer = torch.cat([STATES, STATES])
    second = prompt_chunk([Y + Z, Z], [X], words=torch.tensor([6, 7]), attended=torch.arange(5, 9))
    apart = [filter_prompt(longer, longer, torch.ones(10), [p], RELEASED) for p in (prompt_chunk(MASKED, [X]), second)]
    filtered = filter_prompt(longer, longer, torch.ones(10), [prompt_chunk(MASKED, [X]), second], RELEASED)
    assert torch.equal(filtered.triggers, apart[0].triggers | apart[1].triggers)
    assert torch.equal(filtered.states[:5], apart[0].states[:5]) and torch.equal(
        filtered.states[5:], apart[1].states[5:]
    )
    assert filtered.similarity == pytest.approx((apart[0].similarity + apart[1].similarity) / 2)


def test_half_precision_states_keep_their_type_and_their_untouched_bits():
    states = STATES.half()
    filtered = filter_prompt(states, states, torch.ones(5), [prompt_chunk(MASKED, [X])], RELEASED)
    assert filtered.states.dtype == torch.float16 and torch.equal(filtered.states[2:], states[2:])


def test_concepts_that_leave_nothing_are_an_error():
    with pytest.raises(ValueError, match="^concepts: .*got 3 that span everything"):
        filter_prompt(STATES, STATES, torch.ones(5), [prompt_chunk(MASKED, [X, Y, Z])], RELEASED)


def test_values_that_are_not_numbers_are_an_error():
    broken = STATES.clone()
    broken[1, 0] = math.nan
    with pytest.raises(ValueError, match="^clip: expected a finite projection"):
        filter_prompt(broken, broken, torch.ones(5), [prompt_chunk(MASKED, [X])], RELEASED)


def test_an_unknown_variant_is_an_error():
    with pytest.raises(ValueError, match="^variant: unknown variant 'as rumoured'"):
        filter_prompt(STATES, STATES, torch.ones(5), [prompt_chunk(MASKED, [X])], "as rumoured")
