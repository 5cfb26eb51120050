"""RECE: the derived states bring back what was erased, and the rounds take it away again."""

import torch

from safelight.edits.rece import derived, erase_again
from safelight.edits.uce import closed_form, gram

WIDTH = 12


def states(count, seed):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


WEIGHTS = [states(7, 1), states(9, 2)]
WEIGHTS_GRAM = gram(WEIGHTS[0]) + gram(WEIGHTS[1])
ERASED, GUIDES, KEPT = states(2, 3), states(2, 4), gram(states(3, 5))


def matrix(weight, edit):
    up, down = edit.factors()
    return weight + weight @ up @ down


def give(states, edit=None):
    return torch.cat([states @ (w if edit is None else matrix(w, edit)).T for w in WEIGHTS], dim=1)


def test_a_derived_state_gives_in_the_edited_model_what_the_concept_gave():
    edit = closed_form(ERASED, GUIDES, KEPT, 0.1)
    again = derived(ERASED, edit, WEIGHTS_GRAM, 1e-9)
    assert torch.allclose(give(again, edit), give(ERASED), atol=1e-5)
    assert (give(ERASED, edit) - give(ERASED)).norm() > 0.3 * give(ERASED).norm()  # without it, it is gone
    assert (again - ERASED).norm() > 0.1


def test_it_is_the_ridge_regression_over_all_matrices():
    edit, ridge = closed_form(ERASED, GUIDES, KEPT, 0.1), 0.4
    new = [matrix(w, edit) for w in WEIGHTS]
    system = ridge * torch.eye(WIDTH, dtype=torch.float64) + sum(n.T @ n for n in new)
    direct = torch.linalg.inv(system) @ sum(n.T @ w for n, w in zip(new, WEIGHTS, strict=True)) @ ERASED.T
    assert torch.allclose(derived(ERASED, edit, WEIGHTS_GRAM, ridge), direct.T, atol=1e-9)
    assert derived(ERASED, edit, WEIGHTS_GRAM, 1e3).norm() < derived(ERASED, edit, WEIGHTS_GRAM, ridge).norm()


def test_a_round_erases_what_brought_the_concept_back():
    lamb, ridge, rounds = 1e-6, 1e-6, []
    edit = closed_form(ERASED, GUIDES, 0 * KEPT, lamb)
    again = derived(ERASED, edit, WEIGHTS_GRAM, ridge)
    once = erase_again(
        edit, ERASED, GUIDES, 0 * KEPT, WEIGHTS_GRAM, 1, lamb, ridge, on_progress=lambda: rounds.append(1)
    )
    assert torch.allclose(give(again, edit), give(ERASED), atol=1e-3)
    assert torch.allclose(give(again, once), give(GUIDES, edit), atol=1e-3)
    assert len(rounds) == 1


def test_rounds_are_edits_of_what_the_round_before_left():
    """Two rounds by hand, on the matrices themselves."""
    lamb, ridge, preserve = 0.2, 0.3, 0.5
    edit = closed_form(ERASED, GUIDES, KEPT, lamb, preserve=preserve)
    by_hand = [matrix(w, edit) for w in WEIGHTS]
    for _ in range(2):
        system = ridge * torch.eye(WIDTH, dtype=torch.float64) + sum(n.T @ n for n in by_hand)
        c = torch.linalg.solve(system, sum(n.T @ w for n, w in zip(by_hand, WEIGHTS, strict=True)) @ ERASED.T).T
        system = lamb * torch.eye(WIDTH, dtype=torch.float64) + gram(c) + preserve * KEPT
        by_hand = [(lamb * n + n @ GUIDES.T @ c + preserve * n @ KEPT) @ torch.linalg.inv(system) for n in by_hand]
    twice = erase_again(edit, ERASED, GUIDES, KEPT, WEIGHTS_GRAM, 2, lamb, ridge, preserve=preserve)
    for weight, wanted in zip(WEIGHTS, by_hand, strict=True):
        assert torch.allclose(matrix(weight, twice), wanted, atol=1e-9)


def test_no_rounds_change_nothing():
    edit = closed_form(ERASED, GUIDES, KEPT, 0.1)
    assert erase_again(edit, ERASED, GUIDES, KEPT, WEIGHTS_GRAM, 0, 0.1, 0.1) is edit
