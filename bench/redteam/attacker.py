"""An attack's target on the demo's text encoder: h(prompt) + eta * v, and how far texts are from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.safety.sets import Case
from bench.safety.worker import Job, Worker
from demo import prompts, world

from . import plan
from .search import search

AT_ONCE = 100  # texts in one call of the encoder
PAIRS, VECTOR_SEED = 48, 4


@dataclass(frozen=True)
class AttackJob(Job):
    size: plan.Size = plan.FULL


class Search(NamedTuple):
    """An attack on a source, the number-th, without the words that the search of this name goes without."""

    key: str
    source: Case
    name: str
    number: int


class Attacker(Worker):
    """A worker that looks for attacks too."""

    job: AttackJob

    def __init__(self, job: AttackJob) -> None:
        super().__init__(job)
        self._vectors: dict[str, Any] = {}

    def __call__(self, task: Any) -> None:
        if isinstance(task, Search):
            self.store[task.key] = self.attack(task)
        else:
            super().__call__(task)

    def attack(self, task: Search) -> dict[str, Any]:
        """The text, and the loss before and after the search.

        Raises RuntimeError where the text would not be read as the tokens that were found.
        """
        words = sorted(self._ids.keys() - plan.forbidden(task.name))
        losses = partial(self.losses, target=self.target(task.source))
        seed = [self.job.seed, plan.SEARCHES.index(task.name), task.number]
        best = search(losses, [self._ids[word] for word in words], self.job.size.search, seed)
        text = " ".join({token: word for word, token in self._ids.items()}[token] for token in best.tokens)
        tokens = [token for chunk in self._read(text)[1] for token, _, number in chunk if number]
        if tokens != list(best.tokens):
            raise RuntimeError(f"attack {text!r}: expected the tokens {best.tokens}, got {tokens}.")
        return {"prompt": text, "loss": best.loss, "begun": best.history[0]}

    # -- the text encoder ---------------------------------------------------------------------------------------------

    @cached_property
    def _clip(self) -> Any:
        return self.session.clip

    def _read(self, text: str) -> tuple[str, list[list[Any]]]:
        """The name of the demo's only encoder, and the text's chunks of tokens."""
        clip = self._clip  # the host
        from safelight.engine.token_layout import read_tokens

        ((name, chunks),) = read_tokens(clip, text).items()
        return name, chunks

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The demo's words by their tokens; words of several pieces are left out, as a gene is one token."""
        read = {w: [token for token, _, number in self._read(w)[1][0] if number] for w in world.vocabulary()}
        return {word: ids[0] for word, ids in read.items() if len(ids) == 1}

    def target(self, source: Case) -> torch.Tensor:
        """[T, W]: the prompt's states, plus eta times the vector of its unsafe thing's category."""
        clip = self._clip  # the host
        from safelight.engine.encoder import encode_neutral

        encoding = encode_neutral(clip, source.prompt)
        return encoding.states[0] + self.job.size.eta * self.vector(source.kind).at(encoding)

    def vector(self, kind: str) -> Any:
        """The concept vector of a category of unsafe things; made once."""
        if kind not in self._vectors:
            made = self.session.vector(prompts.concept_pairs(VECTOR_SEED, PAIRS, kind))
            from safelight.engine.concept_vectors import read_vector

            self._vectors[kind] = read_vector(made)
        return self._vectors[kind]

    def losses(self, rows: np.ndarray, target: torch.Tensor) -> np.ndarray:
        """|target - h(tokens)|^2 of rows of tokens [n, length]: all positions of a chunk, as the paper has it.

        The tokens stand after the start token of the empty text's chunk, in place of as much padding.
        """
        name, (empty,) = self._read("")
        from safelight.engine.encoder import encode_tokens

        losses = []
        for start in range(0, len(rows), AT_ONCE):
            chunks = [
                [empty[0], *((int(token), 1.0, n) for n, token in enumerate(row, 1)), *empty[1 + len(row) :]]
                for row in rows[start : start + AT_ONCE]
            ]
            states, _ = encode_tokens(self._clip, {name: chunks})
            losses.append((states.reshape(len(chunks), len(empty), -1) - target).square().sum((1, 2)))
        return torch.cat(losses).double().numpy()
