"""The closed form of UCE: the least squares solution, what it erases and what it keeps, and the map it is stored as."""

import pytest
import torch

from safelight.edits.uce import StateMap, closed_form, gram

WIDTH, OUT = 12, 7


def states(count, seed, width=WIDTH):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def weight():
    return states(OUT, 1)


def edited(weight, edit):
    up, down = edit.factors()
    return weight + weight @ up.double() @ down.double()


def test_it_is_the_least_squares_solution(weight):
    """Brute force: every term of the objective as rows of one overdetermined system."""
    c, g, k = states(3, 2), states(3, 3), states(5, 4)
    lamb, erase, preserve = 0.3, 2.0, 0.7
    rows = torch.cat([erase**0.5 * c, preserve**0.5 * k, lamb**0.5 * torch.eye(WIDTH, dtype=c.dtype)])
    wanted = torch.cat([erase**0.5 * g @ weight.T, preserve**0.5 * k @ weight.T, lamb**0.5 * weight.T])
    solution = torch.linalg.lstsq(rows, wanted).solution.T
    result = edited(weight, closed_form(c, g, gram(k), lamb, erase, preserve))
    assert torch.allclose(result, solution, atol=1e-10)
    # And the paper's own form of it.
    right = lamb * weight + erase * weight @ g.T @ c + preserve * weight @ k.T @ k
    system = lamb * torch.eye(WIDTH, dtype=c.dtype) + erase * c.T @ c + preserve * k.T @ k
    assert torch.allclose(result, right @ torch.linalg.inv(system), atol=1e-10)


def test_an_erased_state_gives_what_its_guide_gave(weight):
    c, g = states(3, 2), states(3, 3)
    result = edited(weight, closed_form(c, g, gram(c[:0]), 1e-9))
    assert torch.allclose(c @ result.T, g @ weight.T, atol=1e-6)
    assert not torch.allclose(c @ weight.T, g @ weight.T, atol=0.1)


def test_preserved_states_are_kept_in_the_limit(weight):
    c, g, k = states(3, 2), states(3, 3), states(4, 4)
    drifts = [
        float((k @ (edited(weight, closed_form(c, g, gram(k), 1e-3, preserve=p)) - weight).T).abs().max())
        for p in (0.0, 1.0, 1e3, 1e6)
    ]
    assert drifts == sorted(drifts, reverse=True) and drifts[0] > 0.1 and drifts[-1] < 1e-5


def test_a_large_lamb_holds_everything(weight):
    edit = closed_form(states(3, 2), states(3, 3), torch.zeros(WIDTH, WIDTH), 1e9)
    assert torch.allclose(edited(weight, edit), weight, atol=1e-6)


def test_every_matrix_gets_its_own_closed_form_from_one_map(weight):
    """The map knows no weight, and still is the solution for each."""
    c, g = states(2, 2), states(2, 3)
    edit = closed_form(c, g, torch.zeros(WIDTH, WIDTH), 0.1)
    for matrix in (weight, states(3, 9), 10 * states(20, 10)):
        system = 0.1 * torch.eye(WIDTH, dtype=c.dtype) + c.T @ c
        direct = (0.1 * matrix + matrix @ g.T @ c) @ torch.linalg.inv(system)
        assert torch.allclose(edited(matrix, edit), direct, atol=1e-10)


def test_edits_follow_one_another(weight):
    first = closed_form(states(2, 2), states(2, 3), torch.zeros(WIDTH, WIDTH), 0.1)
    second = closed_form(states(3, 5), states(3, 6), torch.zeros(WIDTH, WIDTH), 0.1)
    both = edited(edited(weight, first), second)
    assert torch.allclose(edited(weight, second.after(first)), both, atol=1e-10)
    assert not torch.allclose(edited(weight, first.after(second)), both, atol=1e-3)


@pytest.mark.parametrize(("erased", "rank"), [(2, 2), (5, 5), (6, None), (11, None)])
def test_it_is_kept_in_the_smaller_form(weight, erased, rank):
    """2 D r numbers in factors, D^2 as a whole."""
    edit = closed_form(states(erased, 2), states(erased, 3), torch.zeros(WIDTH, WIDTH), 0.1)
    small = edit.compact()
    assert (None if small.down is None else small.down.shape[0]) == rank
    assert small.up.shape == (WIDTH, rank or WIDTH) and small.up.dtype == torch.float32
    assert torch.allclose(edited(weight, small), edited(weight, edit), atol=1e-5)


def test_repeated_states_take_no_room(weight):
    c, g = states(2, 2).repeat(2, 1), states(2, 3).repeat(2, 1)
    small = closed_form(c, g, torch.zeros(WIDTH, WIDTH), 0.1).compact()
    assert small.down is not None and small.down.shape[0] == 2


def test_a_state_that_adds_up_from_others_takes_no_room():
    """What rounding leaves of its own direction is not kept."""
    c, g = states(2, 2), states(2, 3)
    mix = states(2, 4, width=2)
    c, g = torch.cat([c, mix @ c]), torch.cat([g, mix @ g])
    small = closed_form(c, g, torch.zeros(WIDTH, WIDTH), 0.1).compact()
    assert small.down is not None and small.down.shape[0] == 2


def test_a_direction_that_is_weak_beside_the_strongest_is_kept():
    """A millionth of the largest is far above what float32 rounds."""
    up, down = states(2, 2), states(2, 3)
    (up, _), (down, _) = torch.linalg.qr(up.T), torch.linalg.qr(down.T)
    edit = StateMap(up * torch.tensor([1.0, 1e-6], dtype=up.dtype), down.T)
    kept_up, kept_down = edit.compact().factors()
    assert kept_up.shape == (WIDTH, 2)
    weak = down[:, 1] / down[:, 1].norm()  # the other direction gives nothing for it
    assert torch.allclose(kept_up.double() @ (kept_down.double() @ weak), 1e-6 * up[:, 1], rtol=0.0, atol=2e-7)


def test_an_edit_to_itself_is_none(weight):
    c = states(2, 2)
    small = closed_form(c, c, torch.zeros(WIDTH, WIDTH), 0.1).compact()
    assert small.up.shape == (WIDTH, 0)
    assert torch.equal(edited(weight, small), weight)


def test_what_does_not_belong_is_an_error():
    c, none = states(2, 2), torch.zeros(WIDTH, WIDTH)
    with pytest.raises(ValueError, match="^lamb: expected a number above 0, got 0.0"):
        closed_form(c, c, none, 0.0)
    with pytest.raises(ValueError, match="^states: expected erased and guides"):
        closed_form(c, states(3, 3), none, 0.1)
    with pytest.raises(ValueError, match="^states: expected erased and guides"):
        closed_form(c, c, torch.zeros(3, 3), 0.1)


def test_a_map_without_second_factor_is_the_whole(weight):
    whole = states(WIDTH, 8)
    assert torch.allclose(edited(weight, StateMap(whole, None)), weight + weight @ whole)
