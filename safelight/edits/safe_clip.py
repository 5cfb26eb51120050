"""Safe-CLIP (arXiv 2311.16254) on the student of redaction, for any encoder and without pictures.

Safe-CLIP trains on quadruplets: a safe caption s, an unsafe one u, and a picture of each. Of its eight terms four train
the picture tower, which no diffusion model reads; they are left out. The four of the text tower T are

    .1 preserve(T(s), T0(s)) + .1 redirect(T(u), T0(s)) + .25 NCE(T(s), V0(v)) + .25 NCE(T(u), V0(v)),

and with no picture at hand the frozen text tower stands in for the picture's: NCE contrasts with T0(s). The reference
T0 is the encoder itself, which a student H' = H + g(H) never changes; in the released code it is trained along.

Ours, since diffusion models read token states and their length matters too: the first two terms are redaction's
squared distances (redaction_network.py) on words and tail, in the place of 1 - cos of the pooled output; the others go
by one vector of each text in each block. SAGE's two terms (spread.py) hold the texts apart and by their neighbours.
At the published weight NCE outdoes the other terms here: pictures differ where captions are alike, and a tower that is
its own reference can only push its texts further apart. So its weight is a tenth of that.
SafeR-CLIP (arXiv 2511.16743) redirects to the nearest safe caption by the frozen encoder: `nearest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from safelight.edits.redaction_network import Batch
from safelight.edits.spread import cosines, neighbour_loss, spread_loss

LOGIT_SCALE = 100.0  # of the released code
CONTRAST = 0.25  # of each NCE relative to preserve and redirect; published are 2.5 (.25 to .1), see above
SPREAD, NEIGHBOURS = 1.0, 1.0  # of SAGE's terms; ours


@dataclass(frozen=True)
class Terms:
    """What the loss of a batch has beside preserve and redirect, with the weights of its parts."""

    contrast: float = CONTRAST
    spread: float = SPREAD
    neighbours: float = NEIGHBOURS

    def __call__(self, batch: Batch) -> torch.Tensor:
        made, targets = batch.vectors(batch.made), batch.vectors(batch.targets)
        # Of the safe captions alone: unsafe ones are on their way for as long as the training goes.
        base, now = (cosines(vectors[~batch.redacted]) for vectors in (targets, made))
        loss = self.spread * spread_loss(base, now) + self.neighbours * neighbour_loss(base, now)
        for group in (batch.redacted, ~batch.redacted):
            loss = loss + self.contrast * contrastive(made[group], targets[group])
        return loss


def contrastive(made: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of vectors [N, W] with theirs among the targets [N, W], at LOGIT_SCALE, [].

    A target that is another text's as well is none of its negatives.
    """
    logits = LOGIT_SCALE * F.normalize(made, dim=-1) @ F.normalize(targets, dim=-1).mT
    itself = torch.eye(len(made), dtype=torch.bool, device=made.device)
    shared = (targets[:, None] == targets).all(dim=-1) & ~itself
    logits = logits.masked_fill(shared, -torch.inf)
    right = torch.arange(len(made), device=made.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.mT, right)) / 2


def nearest(unsafe: Sequence[torch.Tensor], safe: Sequence[torch.Tensor]) -> list[int]:
    """Which safe text is nearest to each unsafe one, by the mean of the blocks' cosines.

    unsafe, safe: by block, vectors [U, W] and [M, W] of the frozen encoder.
    """
    pairs = zip(unsafe, safe, strict=True)
    cosine = sum(F.normalize(one, dim=-1) @ F.normalize(other, dim=-1).mT for one, other in pairs)
    return torch.as_tensor(cosine).argmax(dim=-1).tolist()
