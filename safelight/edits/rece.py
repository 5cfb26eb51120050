"""RECE (Gong et al., ECCV 2024, arXiv 2407.12383): repeatedly erases what an edited model can still be asked for.

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
    """The states c' [n, D] that give in the edited matrices what `states` [n, D] gave in the old ones.

    weights_gram: [D, D], S. ridge: above 0.
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
    preserved_gram: torch.Tensor,
    weights_gram: torch.Tensor,
    epochs: int,
    lamb: float,
    ridge: float,
    erase: float = 1.0,
    preserve: float = 1.0,
    on_progress: Callable[[], None] = lambda: None,
) -> StateMap:
    """`edit` followed by `epochs` rounds, each of which derives what still gives the concept and erases that too.

    states, guides: [n, D], the concept's states and the ones that replace them; on_progress: called after every round;
    the rest as in `closed_form` and `derived`. As in the released code each round edits the matrices that the round
    before left, so guides and preserved states give what they give in those.
    """
    for _ in range(epochs):
        again = derived(states, edit, weights_gram, ridge)
        edit = closed_form(again, guides, preserved_gram, lamb, erase, preserve).after(edit)
        on_progress()
    return edit
