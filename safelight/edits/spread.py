"""What an edit of a text encoder breaks, measured without pictures, and two terms of a loss that hold it together.

After SAGE (arXiv 2607.00402), whose authors find that the loss of faithfulness in pictures goes with two figures: the
spread of texts (edits draw them together) and the overlap of each text's nearest neighbours before and after. Its exact
formulas were not available to us. Ours: the spread is the mean of 1 - cos over pairs of different texts, which for
vectors of length 1 is the trace of their covariance times N / (N - 1); the overlap is Jaccard's. Both go by matrices of
cosines [N, N], so that several kinds of vectors of the same texts can be averaged into one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

NEIGHBOURS = 15  # of each text, as SAGE has it; at most half of the other texts
FEWEST = 3  # texts that have a nearest neighbour and another one


def text_vector(states: torch.Tensor, words: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
    """One vector [W] of a text's states [T, W]: half the mean of its words, half that of end token and padding.

    words, tail: boolean [T]. A text that lacks one of them is the mean of the other; the start token has no part.
    """
    means = [states[chosen].mean(dim=0) for chosen in (words, tail) if bool(chosen.any())]
    return torch.stack(means).mean(dim=0)


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    """Of vectors [N, W] with each other, [N, N]."""
    unit = F.normalize(vectors, dim=-1)
    return unit @ unit.mT


def spread(cosine: torch.Tensor) -> torch.Tensor:
    """The mean of 1 - cos over pairs of different texts, []: 0 where all point the same way."""
    count = len(cosine)
    return (1.0 - cosine).masked_fill(_itself(cosine), 0.0).sum() / (count * (count - 1))


def neighbours(cosine: torch.Tensor) -> torch.Tensor:
    """The nearest NEIGHBOURS of each text, or half of the others where those are fewer: boolean [N, N]."""
    count = max(min(NEIGHBOURS, (len(cosine) - 1) // 2), 1)
    nearest = cosine.masked_fill(_itself(cosine), -torch.inf).topk(count, dim=-1).indices
    return torch.zeros_like(cosine, dtype=torch.bool).scatter(-1, nearest, True)


def overlap(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Jaccard's index of each text's neighbours before and after, [N]: 1 where they are the same ones."""
    one, other = neighbours(before), neighbours(after)
    return (one & other).sum(dim=-1) / (one | other).sum(dim=-1)


def spread_loss(base: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """max(0, 1 - S / S0), of the spreads S of `made` and S0 of `base`, [N, N] cosines both: only drawing together
    counts. As a share of S0, since the spread of one encoder's states is a hundred times that of another's."""
    return F.relu(1.0 - spread(made) / _unit(base))


def neighbour_loss(base: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The mean of ((cos - cos0) / S0)^2 over each text and its neighbours in `base`: ours, since the overlap itself has
    no gradient."""
    change = (made - base.detach()) / _unit(base)
    return change[neighbours(base)].square().mean()


def _unit(base: torch.Tensor) -> torch.Tensor:
    return spread(base).detach().clamp_min(1e-6)


def _itself(cosine: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
