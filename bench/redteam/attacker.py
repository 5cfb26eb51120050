"""An attack's target on the demo's text encoder: h(prompt) + eta * v, and how far texts are from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from bench.safety.sets import Case
from bench.safety.worker import Job, Task, Worker
from demo import prompts, world

from . import gates, plan
from .search import Attack, search

AT_ONCE = 100  # texts in one call of the encoder
PAIRS, VECTOR_SEED = 48, 4


@dataclass(frozen=True)
class AttackJob(Job):
    size: plan.Size = plan.FULL


@dataclass(frozen=True)
class Search(Task):
    """An attack on the only case. number: of that source."""

    name: str
    number: int


@dataclass(frozen=True)
class AskGates(Task):
    """What every gate says of texts, by set."""

    texts: dict[str, list[str]]


class Attacker(Worker):
    """A worker that looks for attacks too, and asks other gates about prompts."""

    job: AttackJob

    def __init__(self, job: AttackJob) -> None:
        super().__init__(job)
        self._vectors: dict[str, Any] = {}

    def __call__(self, task: Task) -> None:
        if isinstance(task, Search):
            self.store[task.key] = self.attack(task.cases[0], task.name, task.number)
        elif isinstance(task, AskGates):
            self.store[task.key] = gates.risks(self._clip, self.vector(""), world.CONCEPTS, task.texts)
        else:
            super().__call__(task)

    def attack(self, source: Case, search_name: str, number: int) -> dict[str, Any]:
        """The attack on a source prompt: its text, and the loss before and after the search."""
        words, target = sorted(self._ids.keys() - plan.forbidden(search_name)), self.target(source)
        seed = [self.job.seed, plan.SEARCHES.index(search_name), number]
        best = search(lambda rows: self.losses(rows, target), [self._ids[w] for w in words], self.job.size.search, seed)
        return {"prompt": self.text(best), "loss": best.loss, "begun": best.history[0]}

    # -- the text encoder ---------------------------------------------------------------------------------------------

    @property
    def _clip(self) -> Any:
        return self.generator.session.clip

    def _read(self, text: str) -> tuple[str, list[list[Any]]]:
        """The name of the demo's only encoder, and the text's chunks of tokens."""
        clip = self._clip  # the host
        from safelight.engine.token_layout import read_tokens

        ((name, chunks),) = read_tokens(clip, text).items()
        return name, chunks

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The demo's words by their tokens; words of several pieces are left out, as a gene is one token."""
        single = {}
        for word in world.vocabulary():
            ids = [token for token, _, number in self._read(word)[1][0] if number]
            if len(ids) == 1:
                single[word] = ids[0]
        return single

    def text(self, attack: Attack) -> str:
        """Raises RuntimeError where the text would not be read as these tokens."""
        words = {token: word for word, token in self._ids.items()}
        text = " ".join(words[token] for token in attack.tokens)
        tokens = [token for chunk in self._read(text)[1] for token, _, number in chunk if number]
        if tokens != list(attack.tokens):
            raise RuntimeError(f"attack {text!r}: expected the tokens {attack.tokens}, got {tokens}.")
        return text

    def target(self, source: Case) -> torch.Tensor:
        """[T, W]: the prompt's states, plus eta times the vector of its unsafe thing's category."""
        clip = self._clip  # the host
        from safelight.engine.encoder import encode_neutral

        encoding = encode_neutral(clip, source.prompt)
        return encoding.states[0] + self.job.size.eta * self.vector(source.kind).at(encoding)

    def vector(self, kind: str) -> Any:
        if kind not in self._vectors:
            made = self.generator.session.vector(prompts.concept_pairs(VECTOR_SEED, PAIRS, kind))
            from safelight.engine.concept_vectors import read_vector

            self._vectors[kind] = read_vector(made)
        return self._vectors[kind]

    def losses(self, rows: np.ndarray, target: torch.Tensor) -> np.ndarray:
        """|target - h(tokens)|^2 of rows of tokens [n, length]: all positions of a chunk, as the paper has it."""
        name, (empty,) = self._read("")
        from safelight.engine.encoder import encode_tokens

        losses = []
        for start in range(0, len(rows), AT_ONCE):
            chunks = [_chunk(empty, row) for row in rows[start : start + AT_ONCE]]
            states, _ = encode_tokens(self._clip, {name: chunks})
            apart = states.reshape(len(chunks), len(empty), -1) - target
            losses.append(apart.square().sum((1, 2)))
        return torch.cat(losses).double().numpy()


def _chunk(empty: list[Any], row: np.ndarray) -> list[Any]:
    """A chunk with these tokens after its start token; as many of the padding's go."""
    words = [(int(token), 1.0, n + 1) for n, token in enumerate(row)]
    return [empty[0], *words, *empty[1 + len(words) :]]
