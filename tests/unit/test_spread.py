"""The spread of texts and the overlap of their neighbours: closed forms, and terms that are 0 at the reference."""

from __future__ import annotations

import pytest
import torch

from safelight.edits.spread import (
    NEIGHBOURS,
    cosines,
    neighbour_loss,
    neighbours,
    overlap,
    spread,
    spread_loss,
    text_vector,
)


def vectors(count: int = 40, width: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).double()


def test_the_spread_is_one_for_right_angles_and_nothing_for_one_direction():
    assert float(spread(cosines(torch.eye(4)))) == 1.0
    assert float(spread(cosines(torch.ones(4, 3) * torch.arange(1.0, 5.0)[:, None]))) == pytest.approx(0.0, abs=1e-6)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(spread(cosines(opposite))) == 2.0


def test_the_spread_is_the_trace_of_the_covariance_of_vectors_of_length_one():
    unit = torch.nn.functional.normalize(vectors(), dim=-1)
    trace = (unit - unit.mean(dim=0)).square().sum(dim=-1).mean()
    assert float(spread(cosines(vectors()))) == pytest.approx(float(trace) * 40 / 39)


def test_the_same_vectors_overlap_wholly_and_others_by_jaccard():
    base = cosines(vectors())
    assert torch.equal(overlap(base, base.clone()), torch.ones(40))
    places = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.0])  # angles: the first one's neighbours are the second and the third
    angles = torch.stack([places.cos(), places.sin()], dim=1)
    moved = angles.clone()
    moved[2] = -moved[2]  # now the fourth takes its place
    kept = overlap(cosines(angles), cosines(moved))
    assert float(kept[0]) == pytest.approx(1 / 3)


def test_the_order_of_texts_does_not_matter():
    base, made = vectors(), vectors(seed=2)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    one, other = cosines(base), cosines(made)
    swapped = cosines(base[order]), cosines(made[order])
    assert torch.equal(overlap(*swapped), overlap(one, other)[order])
    assert float(spread(swapped[0])) == pytest.approx(float(spread(one)))


@pytest.mark.parametrize("count, each", [(3, 1), (5, 2), (31, NEIGHBOURS), (90, NEIGHBOURS)])
def test_a_text_has_fifteen_neighbours_or_half_of_the_others_and_never_itself(count, each):
    near = neighbours(cosines(vectors(count)))
    assert near.sum(dim=1).tolist() == [each] * count and not near.diagonal().any()


def test_both_terms_are_zero_at_the_reference_and_grow_with_the_change():
    base = cosines(vectors())
    assert float(spread_loss(base, base)) == 0.0 and float(neighbour_loss(base, base)) == 0.0
    towards = [cosines(vectors() + pull) for pull in (1.0, 3.0)]  # everything drawn to one direction
    assert 0.0 < float(spread_loss(base, towards[0])) < float(spread_loss(base, towards[1])) < 1.0
    assert 0.0 < float(neighbour_loss(base, towards[0])) < float(neighbour_loss(base, towards[1]))
    collapsed = torch.ones_like(base)
    assert float(spread_loss(base, collapsed)) == 1.0
    assert float(spread_loss(collapsed - 1e-9, base)) == 0.0  # further apart is no loss


def test_the_terms_pull_the_texts_back_and_leave_the_reference_alone():
    base, made = vectors().requires_grad_(), (vectors() + 1.0).requires_grad_()
    (spread_loss(cosines(base), cosines(made)) + neighbour_loss(cosines(base), cosines(made))).backward()
    assert base.grad is None or not base.grad.any()
    with torch.no_grad():
        nearer = made - 0.1 * made.grad / made.grad.norm()
        assert float(spread(cosines(nearer))) > float(spread(cosines(made)))


def test_a_text_s_vector_weighs_words_and_tail_alike_and_leaves_the_start_out():
    states = torch.tensor([[100.0], [1.0], [3.0], [6.0], [8.0], [10.0]])
    words = torch.tensor([False, True, True, False, False, False])
    tail = torch.tensor([False, False, False, True, True, True])
    assert float(text_vector(states, words, tail)) == (2.0 + 8.0) / 2
    assert float(text_vector(states, words, torch.zeros_like(tail))) == 2.0
