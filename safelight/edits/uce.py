"""Unified Concept Editing (Gandikota et al., WACV 2024, arXiv 2308.14761): weights that read one text as another.

Equation 7 of the paper, for a matrix W that reads text states (rows c of width D), erased states c_i, the outputs
v_i* = W g_i that replace theirs, and preserved states c_j:

    W' = (lamb W + e sum v_i* c_i^T + p sum (W c_j) c_j^T) M^-1,  M = lamb I + e sum c_i c_i^T + p sum c_j c_j^T.

Since W M holds the same terms with W c_i in place of v_i*, the difference is

    W' - W = W up down,  up = e (G - C)^T [D, n],  down = C M^-1 [n, D]

(rows of C, G: c_i, g_i). `up down` does not depend on W: the closed form is one map of the text states, I + up down,
which is the same for every matrix that reads them, and its rank is at most the number of erased states. So an edit is
stored as that map, and the difference of each matrix is computed from the map and the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Singular values below this share of the largest are rounding errors (the map is computed in float64).
_ROUNDING = 1e-9


@dataclass(frozen=True)
class StateMap:
    """The map I + up down of states of width D. up: [D, r]; down: [r, D], or None for the identity (r = D)."""

    up: torch.Tensor
    down: torch.Tensor | None

    @property
    def width(self) -> int:
        return self.up.shape[0]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(up, down); the identity where down is None."""
        return self.up, torch.eye(self.width).to(self.up) if self.down is None else self.down

    def after(self, first: StateMap) -> StateMap:
        """The map of a matrix that was edited by `first` and then by this one: (I + first)(I + self)."""
        (up, down), (first_up, first_down) = self.factors(), first.factors()
        return StateMap(
            torch.cat([first_up, up + first_up @ (first_down @ up)], dim=1), torch.cat([first_down, down], dim=0)
        )

    def compact(self) -> StateMap:
        """The same map in float32, as factors of rank r (2 D r numbers) or as one matrix (D^2), whichever is smaller.

        The rank takes a singular value decomposition, so it is computed only where the present factors are smaller
        than the matrix.
        """
        up, down = self.factors()
        if 2 * up.shape[1] >= self.width:
            return StateMap((up @ down).float().contiguous(), None)
        left, core = torch.linalg.qr(up.double())
        right, other = torch.linalg.qr(down.double().T)
        u, sizes, v = torch.linalg.svd(core @ other.T)
        rank = int((sizes > _ROUNDING * sizes[:1].clamp_min(torch.finfo(sizes.dtype).tiny)).sum())
        up, down = left @ u[:, :rank] * sizes[:rank], v[:rank] @ right.T
        return StateMap(up.float().contiguous(), down.float().contiguous())


def gram(rows: torch.Tensor) -> torch.Tensor:
    """[D, D]: the sum of c c^T over rows c of [m, D], in float64."""
    return rows.double().T @ rows.double()


def closed_form(
    erased: torch.Tensor,
    guides: torch.Tensor,
    preserved_gram: torch.Tensor,
    lamb: float,
    erase: float = 1.0,
    preserve: float = 1.0,
) -> StateMap:
    """The edit that makes `erased` states give what `guides` gave and leaves preserved states alone, by least squares.

    erased, guides: [n, D], row by row; preserved_gram: [D, D], the gram of the preserved states (0 for none); lamb:
    above 0, holds every other state where it is; erase, preserve: the weight of one state of either kind. Computed in
    float64. Raises ValueError where shapes do not agree or lamb is not above 0 (the system may then be singular).
    """
    width = erased.shape[-1]
    if erased.ndim != 2 or erased.shape != guides.shape or preserved_gram.shape != (width, width):
        shapes = ", ".join(str(tuple(states.shape)) for states in (erased, guides, preserved_gram))
        raise ValueError(
            f"states: expected erased and guides [n, D] and a gram [D, D], got {shapes}. Encode all of them with one "
            "text encoder."
        )
    if not lamb > 0.0:
        raise ValueError(f"lamb: expected a number above 0, got {lamb}. Give such a number.")
    c, g = erased.double(), guides.double()
    system = lamb * torch.eye(width, dtype=c.dtype) + erase * gram(c) + preserve * preserved_gram.double()
    return StateMap(erase * (g - c).T, torch.linalg.solve(system, c.T).T)
