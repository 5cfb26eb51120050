"""What a sampler's run tells a detector that looks at predictions and not at pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

NO_TEXT = "safelight no text"  # among a detector's conditionings


@dataclass(frozen=True)
class RunPredictions:
    """The predictions of the call at which somebody looks.

    progress: of the call, in [0, 1] on the scale of the noise level. last: whether the run is not looked at again.
    cond: [B, C, ...], what classifier-free guidance takes for the prompt's prediction. uncond: under no text.
    concepts: under a detector's conditionings, by their names. All of one shape and one parametrisation.
    """

    progress: float
    last: bool
    cond: torch.Tensor
    uncond: torch.Tensor
    concepts: Mapping[str, torch.Tensor]

    def of(self, pictures: Sequence[int]) -> RunPredictions:
        """Of these pictures of the batch alone."""
        some = list(pictures)
        concepts = {name: concept[some] for name, concept in self.concepts.items()}
        return RunPredictions(self.progress, self.last, self.cond[some], self.uncond[some], concepts)
