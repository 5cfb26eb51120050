"""A judge of rewritten prompts that is not the reader: a logistic regression on the whole of all-MiniLM-L6-v2.

It reads clause by clause, as the reader does, by the mean of the last states of all six layers, untrained here, and
learns from the same texts. The cosine of two prompts is that of their means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from safelight.text.clauses import clauses_of, words_of
from safelight.text.reader import encode_clauses
from safelight.text.sentence_encoder import encode, make_tokenizer

from .texts import Text, clauses
from .train import source_weights

LAYERS = 6
PENALTY = 1e-4  # of the squares
BATCH = 64


class Judge:
    """folder: of all-MiniLM-L6-v2; texts: what it learns from."""

    def __init__(self, folder: Path, texts: Sequence[Text]) -> None:
        self._weights, pieces = source_weights(folder, LAYERS)
        self._tokenizer = make_tokenizer(pieces)
        learned = list(clauses(texts))
        inputs = self._means([clause.words for clause in learned])
        target = torch.tensor([float(bool(clause.category)) for clause in learned])
        self._plane = torch.zeros(inputs.shape[1] + 1, requires_grad=True)
        optimizer = torch.optim.LBFGS([self._plane], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            value = F.binary_cross_entropy_with_logits(self._logits(inputs), target)
            value = value + PENALTY * self._plane[:-1].square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        self._plane.requires_grad_(False)

    def score(self, prompt: str) -> float:
        """Of the riskiest clause."""
        parts = clauses_of(prompt, words_of(prompt))
        return float(self._logits(self._means(parts)).max()) if parts else -np.inf

    def cosine(self, one: str, other: str) -> float:
        """Of two prompts as wholes."""
        a, b = self._means([words_of(one), words_of(other)])
        return float(a @ b)

    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self._plane[:-1] * 10 + self._plane[-1]

    @torch.no_grad()
    def _means(self, parts: Sequence[Sequence]) -> torch.Tensor:
        result = []
        for start in range(0, len(parts), BATCH):
            ids, attended, _ = encode_clauses(self._tokenizer, parts[start : start + BATCH])
            states = encode(self._weights, ids, attended)[-1]
            result.append(F.normalize((states * attended[..., None]).sum(1), dim=1))
        return torch.cat(result)
