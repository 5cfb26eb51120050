"""Concept subspace, trigger tokens, projection and subtraction on constructed states."""

import math

import pytest
import torch

from safelight.text.subspace import (
    SHARE_THRESHOLD,
    Metric,
    concept_subspace,
    everyday_metric,
    phrase_vector,
    project,
)
from safelight.text.subtract import subtract

WIDTH = 40
PLAIN = everyday_metric(torch.zeros(0, WIDTH))


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def centre():
    return randn(WIDTH, seed=1)


@pytest.fixture
def space(centre):
    """Three concepts along known directions."""
    return concept_subspace(torch.eye(WIDTH)[:3] * torch.tensor([[1.0], [5.0], [0.2]]), centre, PLAIN)


def test_subspace_spans_every_concept_whatever_its_length(space):
    assert space.basis.shape == (WIDTH, 3)
    assert torch.allclose(space.basis.T @ space.basis, torch.eye(3), atol=1e-6)
    assert torch.allclose(space.share(torch.eye(WIDTH)[:4]), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-6)


def test_near_synonyms_add_no_direction(centre):
    first, second = torch.eye(WIDTH)[:2]
    subspace = concept_subspace(torch.stack([first, first + 1e-3 * second, second]), centre, PLAIN)
    assert subspace.basis.shape[1] == 2


@pytest.mark.parametrize(("ratio", "rank"), [(0.05, 1), (0.09, 1), (0.11, 2), (0.2, 2)])
def test_a_direction_counts_from_a_tenth_of_the_strongest_on(centre, ratio, rank):
    """Of two concepts that lie 2 arctan(ratio) apart the singular values have this ratio."""
    first, second = torch.eye(WIDTH)[:2]
    other = math.cos(2 * math.atan(ratio)) * first + math.sin(2 * math.atan(ratio)) * second
    assert concept_subspace(torch.stack([first, other]), centre, PLAIN).basis.shape[1] == rank


def test_a_narrow_encoder_keeps_one_direction():
    narrow = everyday_metric(torch.zeros(0, 3))
    assert concept_subspace(torch.eye(3), torch.ones(3), narrow).basis.shape == (3, 1)


def test_rank_stays_a_part_of_the_width(centre):
    assert concept_subspace(randn(WIDTH, WIDTH), centre, PLAIN).basis.shape[1] == WIDTH // 4


@pytest.mark.parametrize("fault", [math.nan, math.inf])
def test_concepts_that_are_not_finite_are_refused(centre, fault):
    with pytest.raises(ValueError, match="concepts"):
        concept_subspace(torch.full((2, WIDTH), fault), centre, PLAIN)


def test_concepts_that_the_encoder_does_not_tell_from_everyday_phrases_are_refused(centre):
    with pytest.raises(ValueError, match="concepts"):
        concept_subspace(torch.zeros(2, WIDTH), centre, PLAIN)


def test_a_concept_that_is_not_told_apart_leaves_the_others_as_they_are(centre):
    first, second = torch.eye(WIDTH)[:2]
    found = concept_subspace(torch.stack([torch.zeros(WIDTH), first, second]), centre, PLAIN)
    alone = concept_subspace(torch.stack([first, second]), centre, PLAIN)
    assert torch.allclose(found.basis @ found.basis.T, alone.basis @ alone.basis.T, atol=1e-6)


def test_the_largest_centre_tells_what_is_rounding():
    """A hundred thousandth of it; another place's centre may be as small as it likes."""
    centres = torch.stack([torch.zeros(WIDTH), 1000.0 * torch.eye(WIDTH)[5]])
    for size, told_apart in ((5e-3, False), (2e-2, True)):
        deviations = size * torch.eye(WIDTH)[:1]
        if told_apart:
            assert concept_subspace(deviations, centres, PLAIN).basis.shape[1] == 1
        else:
            with pytest.raises(ValueError, match="expected phrases that this text encoder can tell"):
                concept_subspace(deviations, centres, PLAIN)


def test_the_direction_is_the_mean_of_the_concepts_as_they_are(centre):
    concepts = torch.eye(WIDTH)[:2] * torch.tensor([[1.0], [5.0]])
    found = concept_subspace(concepts, centre, PLAIN).direction
    assert found[:3].tolist() == [0.5, 2.5, 0.0]


def test_share_of_a_state_at_the_centre_is_zero(space):
    assert space.share(torch.zeros(2, WIDTH)).tolist() == [0.0, 0.0]


def test_projection_removes_the_planted_part_and_nothing_else(space, centre):
    benign = randn(2, 6, WIDTH) * (torch.arange(WIDTH) >= 3)
    planted = 4 * randn(2, 6, 3, seed=2) @ torch.eye(WIDTH)[:3]
    states = centre + benign + planted
    result = project(states, space.unsafe_part(states - centre), torch.ones(2, 6, dtype=torch.bool), torch.ones(6))
    assert torch.allclose(result, centre + benign, atol=1e-6)


def test_projection_in_the_everyday_metric_leaves_no_share(centre):
    metric = everyday_metric(randn(200, WIDTH, seed=3) * torch.linspace(5, 0.1, WIDTH))
    space = concept_subspace(randn(4, WIDTH, seed=4), centre, metric)
    states = randn(1, 5, WIDTH, seed=5)
    result = project(states, space.unsafe_part(states - centre), torch.ones(1, 5, dtype=torch.bool), torch.ones(5))
    inside = metric.apply(result - centre) @ space.basis
    assert inside.norm() < 1e-5 * metric.apply(states - centre).norm()


def test_the_metric_takes_concepts_away_with_less_change_to_everyday_words():
    everyday = randn(300, WIDTH, seed=6) * torch.linspace(4, 0.2, WIDTH)
    concept = torch.eye(WIDTH)[[0]] + torch.eye(WIDTH)[[WIDTH - 1]]  # half of it is what everyday words differ in
    change = []
    for metric in (PLAIN, everyday_metric(everyday)):
        space = concept_subspace(concept, torch.zeros(WIDTH), metric)
        change.append(space.unsafe_part(everyday).norm())
        assert torch.allclose(space.unsafe_part(concept), concept, atol=1e-4)  # the concept itself goes entirely
    assert change[1] < 0.5 * change[0]


def test_metric_is_undone_exactly():
    metric = everyday_metric(randn(12, WIDTH))
    states = randn(3, 4, WIDTH, seed=7)
    assert torch.allclose(metric.undo(metric.apply(states)), states, atol=1e-5)
    assert (metric.gains < 1).all() and isinstance(metric.to(torch.device("cpu")), Metric)


def test_strength_zero_and_unchosen_tokens_keep_their_bits(space, centre):
    states = randn(2, 6, WIDTH)
    everything = torch.ones(2, 6, dtype=torch.bool)
    assert torch.equal(project(states, space.unsafe_part(states - centre), everything, torch.zeros(6)), states)
    some = torch.tensor([[True, False] * 3, [False] * 6])
    result = project(states, space.unsafe_part(states - centre), some, torch.ones(6))
    assert torch.equal(result[~some], states[~some]) and not torch.equal(result[some], states[some])


def test_rows_of_a_batch_are_independent(space, centre):
    states = randn(3, 4, WIDTH)
    chosen = randn(3, 4, seed=8) > 0
    whole = project(states, space.unsafe_part(states - centre), chosen, torch.ones(4))
    for row in range(3):
        one = slice(row, row + 1)
        alone = project(states[one], space.unsafe_part(states[one] - centre), chosen[one], torch.ones(4))
        assert torch.allclose(whole[one], alone, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(space, centre, dtype):
    states = (300 * randn(1, 4, WIDTH)).to(dtype)  # squares of these overflow float16
    chosen = torch.ones(1, 4, dtype=torch.bool)
    result = project(states, space.unsafe_part(states.float() - centre), chosen, torch.ones(4))
    exact = project(states.float(), space.unsafe_part(states.float() - centre), chosen, torch.ones(4))
    assert result.dtype == dtype and torch.equal(result, exact.to(dtype))
    moved = subtract(states, space.direction, chosen[0], torch.ones(4))
    assert moved.dtype == dtype and torch.isfinite(moved).all()


def test_phrase_vector_leaves_the_other_tokens_out():
    states = randn(1, 5, WIDTH)
    chosen = torch.tensor([False, True, True, False, False])
    assert torch.allclose(phrase_vector(states, chosen), states[:, 1:3].mean(dim=1))
    with pytest.raises(ValueError, match="concepts"):
        phrase_vector(states, torch.zeros(5, dtype=torch.bool))


def test_share_trigger_finds_the_planted_token(space):
    deviations = randn(6, WIDTH) * (torch.arange(WIDTH) >= 3)
    deviations[4, 1] = 20.0
    assert (space.share(deviations) > SHARE_THRESHOLD).tolist() == [False, False, False, False, True, False]


def test_subtract_moves_chosen_tokens_along_the_direction():
    states, direction = randn(2, 3, WIDTH), randn(WIDTH, seed=9)
    chosen, strength = torch.tensor([True, False, True]), torch.tensor([1.0, 1.0, 0.5])
    result = subtract(states, direction, chosen, strength)
    assert torch.allclose(result[:, 0], states[:, 0] - direction, atol=1e-6)
    assert torch.equal(result[:, 1], states[:, 1])
    assert torch.allclose(result[:, 2], states[:, 2] - 0.5 * direction, atol=1e-6)
