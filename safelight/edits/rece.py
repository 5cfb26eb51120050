"""RECE (Gong et al., ECCV 2024, arXiv 2407.12383): erase what an edited model could still be asked for, repeatedly.

After an edit there are states c' that give in the edited model what an erased concept's c gave in the old one:

    c' = (ridge I + sum W'^T W')^-1 (sum W'^T W) c,

over all matrices W that were edited to W' (equation 6; the ridge keeps c' small). Each epoch erases these c' in turn.
With W' = W P, P the map of uce.py, only S = sum W^T W is needed: c' = (ridge I + P^T S P)^-1 P^T S c.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from safelight.edits.uce import StateMap, closed_form


def derived(states: torch.Tensor, edit: StateMap, weights_gram: torch.Tensor, ridge: float) -> torch.Tensor:
    """[n, D]: what gives in the edited matrices what `states` [n, D] gave in the old ones, by ridge regression.

    weights_gram: [D, D], S. ridge > 0.
    """
    up, down = edit.factors()
    p = torch.eye(edit.width, dtype=torch.float64) + up.double() @ down.double()
    old = p.T @ weights_gram
    system = ridge * torch.eye(edit.width, dtype=torch.float64) + old @ p
    return torch.linalg.solve(system, old @ states.double().T).T


def erase_again(
    edit: StateMap,
    states: torch.Tensor,
    guides: torch.Tensor,
    kept: torch.Tensor,
    weights_gram: torch.Tensor,
    epochs: int,
    lamb: float,
    ridge: float,
    erase: float = 1.0,
    preserve: float = 1.0,
    told: Callable[[], None] = lambda: None,
) -> StateMap:
    """`edit` followed by `epochs` rounds: derive what still calls the concept up, and edit that to the guides.

    states, guides: [n, D], the concept's and what it is to give instead; kept: [D, D], the gram of what is preserved;
    the rest as in `closed_form` and `derived`. As in the released code every round edits the matrices that the round
    before left, so that what guides and kept states give is taken from those. told: called after every round.
    """
    for _ in range(epochs):
        again = derived(states, edit, weights_gram, ridge)
        edit = closed_form(again, guides, kept, lamb, erase, preserve).after(edit)
        told()
    return edit
