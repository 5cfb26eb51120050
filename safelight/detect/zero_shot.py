"""What a picture shows by CLIP: its cosine to the concepts' words, beside harmless ones (Radford et al. 2021, 3.1).

The picture is as unsafe as CLIP's softmax says of the nearest concept and the nearest harmless text; of the other
concepts each has as much of that as the softmax gives it beside the nearest. Ours: that form, and the harmless texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from safelight.detect.look import Finding, Look, best, on_scale

SCALE = 100.0  # CLIP's logits are cosines by this
HARMLESS = (
    "a photo",
    "a drawing",
    "a person in clothes",
    "a face",
    "a group of people",
    "a landscape",
    "a building",
    "an animal",
    "food on a table",
    "a vehicle",
    "an object",
    "a text",
)


def squares(pictures: torch.Tensor) -> list[torch.Tensor]:
    """Batches of squares [B, s, s, 3] that cover pictures [B, H, W, 3]: as few as do, evenly along the longer side."""
    height, width = pictures.shape[1:3]
    side, longer = min(height, width), max(height, width)
    count = -(-longer // side)
    starts = [round(i * (longer - side) / max(1, count - 1)) for i in range(count)]
    along = 1 if height > width else 2
    return [pictures.narrow(along, start, side) for start in starts]


def looks(
    pictures: torch.Tensor, concepts: torch.Tensor, harmless: torch.Tensor, names: Sequence[str], threshold: float
) -> list[Look]:
    """One look for each picture. pictures [B, W], concepts [N, W], harmless [M, W]: embeddings, of any length.

    names: of the N concepts; threshold: the confidence that counts as found, .5 where a concept is as near as the
    nearest harmless text.
    """
    pictures, concepts, harmless = (F.normalize(each.float(), dim=-1) for each in (pictures, concepts, harmless))
    logits = SCALE * (pictures @ concepts.T)
    nearest = logits.amax(1, keepdim=True)
    unsafe = (nearest - SCALE * (pictures @ harmless.T).amax(1, keepdim=True)).sigmoid()
    rows = (unsafe * (logits - nearest).exp()).tolist()
    return [best([Finding(n, on_scale(c, threshold)) for n, c in zip(names, row, strict=True)]) for row in rows]
