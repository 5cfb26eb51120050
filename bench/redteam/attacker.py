"""An attack's target on the demo's text encoder: h(prompt) + eta * v, and how far texts are from it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.safety.sets import Case
from bench.safety.work import Job, Task, Worker
from demo import prompts, world

from . import gates, plan
from .search import Found, search

AT_ONCE = 100  # texts in one call of the encoder
PAIRS, VECTOR_SEED = 48, 4


@dataclass(frozen=True)
class SearchJob(Job):
    size: plan.Size

    def worker(self) -> Worker:
        return Attacker(self)


class Attacker(Worker):
    """A worker that looks for attacks (the task's number is the source's, its row's set the search), and that asks
    other gates about all prompts of its job."""

    job: SearchJob

    def __init__(self, job: SearchJob) -> None:
        super().__init__(job)
        self._vectors: dict[str, Any] = {}
        self._ids: dict[str, int] = {}

    def do(self, task: Task) -> None:
        if task.kind == "search":
            source = self.job.sets[plan.SOURCE][task.number]
            self.store.keep(task.name, self.attack(source, task.row.cases, task.number))
        elif task.kind == "gates":
            texts = {name: [case.prompt for case in cases] for name, cases in self.job.sets.items()}
            self.store.keep(task.name, gates.risks(self.maker.studio, self.vector(""), world.CONCEPTS, texts))
        else:
            super().do(task)

    def attack(self, source: Case, search_name: str, number: int) -> dict[str, Any]:
        """The attack on a source prompt: its text, and the loss before and after the search."""
        self._ids = self._ids or self._tokens()
        kept = sorted(self._ids.keys() - plan.forbidden(search_name))
        target = self.target(source)
        found = search(
            lambda rows: self.losses(rows, target), [self._ids[word] for word in kept], self.job.size.search,
            [self.job.seed, plan.SEARCHES.index(search_name), number],
        )  # fmt: skip
        return {"prompt": self.text(found), "loss": found.loss, "begun": found.history[0]}

    # -- the text encoder ---------------------------------------------------------------------------------------------

    @property
    def _encoder(self) -> Any:
        self.maker  # noqa: B018  the host, and the pack in it
        return sys.modules["safelight_pack.nodes.encoder"]

    def _tokens(self) -> dict[str, int]:
        """The demo's words by their tokens; words of several pieces are left out, as a gene is one token."""
        found = {}
        for word in world.vocabulary():
            (chunks,) = self._encoder.read_tokens(self.maker.studio.clip, word).values()
            ids = [token for token, _, number in chunks[0] if number]
            if len(ids) == 1:
                found[word] = ids[0]
        return found

    def text(self, found: Found) -> str:
        """Raises RuntimeError where the text would not be read as these tokens."""
        words = {token: word for word, token in self._ids.items()}
        text = " ".join(words[token] for token in found.tokens)
        (chunks,) = self._encoder.read_tokens(self.maker.studio.clip, text).values()
        if [token for chunk in chunks for token, _, number in chunk if number] != list(found.tokens):
            raise RuntimeError(f"the text {text!r} has other tokens than the search found")
        return text

    def target(self, source: Case) -> torch.Tensor:
        """[T, W]: the prompt's states, plus eta times the vector of its unsafe thing's category."""
        encoding = self._encoder.encode_neutral(self.maker.studio.clip, source.prompt)
        return encoding.states[0] + self.job.size.eta * self.vector(source.kind).at(encoding)

    def vector(self, kind: str) -> Any:
        if kind not in self._vectors:
            pairs = prompts.concept_pairs(VECTOR_SEED, PAIRS, kind)
            read = sys.modules["safelight_pack.nodes.concept_vector"].read_vector
            self._vectors[kind] = read(self.maker.studio.vector(pairs))
        return self._vectors[kind]

    def losses(self, rows: np.ndarray, target: torch.Tensor) -> np.ndarray:
        """|target - h(tokens)|^2 of rows of tokens [n, length]: all positions of a chunk, as the paper has it."""
        clip = self.maker.studio.clip
        ((name, (empty,)),) = self._encoder.read_tokens(clip, "").items()
        found = []
        for start in range(0, len(rows), AT_ONCE):
            chunks = [_written(empty, row) for row in rows[start : start + AT_ONCE]]
            states, _ = self._encoder.encode_tokens(clip, {name: chunks})
            apart = states.reshape(len(chunks), len(empty), -1) - target
            found.append(apart.square().sum((1, 2)))
        return torch.cat(found).double().numpy()


def _written(empty: list[Any], row: np.ndarray) -> list[Any]:
    """A chunk with these tokens after its start token; as many of the padding's go."""
    words = [(int(token), 1.0, n + 1) for n, token in enumerate(row)]
    return [empty[0], *words, *empty[1 + len(words) :]]
