"""Redaction of texts by a small network that is distilled on prompts.

After Kong and Chaudhuri (arXiv 2305.11351): the generator stays frozen, and a student H' of the conditioning network H
learns to give redacted texts c the conditioning of their references and to leave all other texts alone. The paper's
exact loss was not available to us; ours is its general form,

    L = E_keep |H'(c) - H(c)|^2 + weight E_redact |H'(c) - H(ref)|^2 .

The student is H' = H + g(H). g starts at zero and sees each token together with the output of a small attention over
the text's words, so that other tokens can change with a redacted one. Every block of the encoder has its own g.

Redacted texts are also trained with their changed words blended with words of kept texts. The student then learns what
the redacted words have in common instead of the exact words, and so reaches words that nobody listed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from safelight.edits.redaction import HELD_OUT, POOLED, START, TAIL, WORD, Example, Sample, is_redacted, split

HIDDEN, ATTENTION = 512, 64  # upper bounds; less in narrow encoders
BATCH = 32  # texts per step
EVERY = 20  # steps between evaluations
PATIENCE = 10  # evaluations without gain before training stops
LEARNING_RATE, DECAY = 2e-3, 1e-4
WEIGHT = 1.0  # of redacting relative to keeping
BLEND = 0.8  # the largest share of a kept word in a blended word
LEAST_SCALE = 1e-6  # of a block's states
PADDING = -1  # the kind of positions that fill up a batch


class Student(nn.Module):
    """g of one block: states [B, S, W] with kinds [B, S] to changes [B, S, W], zero before training.

    centre: [W], the mean of the texts' states; scale: [], their mean deviation from it.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, centre: torch.Tensor, scale: torch.Tensor, inner: int = 0, hidden: int = 0) -> None:
        """inner, hidden: the widths of the attention and of the layer after it; 0 derives them from the states."""
        super().__init__()
        width = len(centre)
        inner = inner or min(ATTENTION, max(width // 2, 1))
        hidden = hidden or min(HIDDEN, 2 * width)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.tail = nn.Parameter(torch.zeros(hidden))  # added for tokens of the tail
        self.enter = nn.Linear(width + inner, hidden)
        self.leave = nn.Linear(hidden, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        x = (states - self.centre) / self.scale
        # Keys are the words and the first token of the tail: the padding is all alike, and there can be much of it.
        first = (kinds == TAIL) & ((kinds == TAIL).cumsum(dim=1) == 1)
        seen = (kinds == WORD) | first
        scores = self.query(x) @ self.key(x).transpose(1, 2) / self.key.out_features**0.5
        scores = scores.masked_fill(~seen[:, None], torch.finfo(scores.dtype).min)
        attended = scores.softmax(dim=-1) @ self.value(x)
        hidden = self.enter(torch.cat([x, attended], dim=-1)) + (kinds == TAIL)[..., None] * self.tail
        change = self.leave(F.gelu(hidden)) * self.scale
        return change * ((kinds == WORD) | (kinds == TAIL))[..., None]


@dataclass(frozen=True)
class NetworkMap:
    """H' = H + g(H) of one block."""

    student: Student

    def apply(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """States [B, S, W] of chunks with kinds [B, S], mapped."""
        # Copies for this call alone: nothing stays on a device whose memory the host manages.
        parameters = {name: tensor.to(states.device) for name, tensor in self.student.state_dict().items()}
        with torch.no_grad():
            return states + torch.func.functional_call(self.student, parameters, (states, kinds))

    @property
    def width(self) -> int:
        return self.student.leave.out_features

    def tensors(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach() for name, tensor in self.student.state_dict().items()}

    @classmethod
    def of_tensors(cls, tensors: dict[str, torch.Tensor]) -> NetworkMap:
        """The map that `tensors` gave. Raises RuntimeError, KeyError, TypeError or ValueError for other tensors."""
        centre, scale = tensors["centre"], tensors["scale"]
        if centre.ndim != 1 or scale.ndim != 0 or not float(scale) > LEAST_SCALE / 2:  # it may have been rounded
            raise ValueError(
                f"tensors: expected centre [W] and a scale of at least {LEAST_SCALE:g}, got {tuple(centre.shape)} and "
                f"{tuple(scale.shape) or float(scale)}"
            )
        inner, hidden = len(tensors["query.bias"]), len(tensors["enter.bias"])
        student = Student(centre.clone(), scale.clone(), inner, hidden)
        student.load_state_dict(tensors)
        return cls(student.eval())


@dataclass(frozen=True)
class EvalPoint:
    """Losses after this many steps: mean squared distances, as shares of that from redacted texts to their references.

    train: of the batches since the last evaluation, both terms together; keep, redact: of the held-out texts.
    """

    step: int
    train: float
    keep: float
    redact: float


@dataclass(frozen=True)
class Trained:
    """The students at the evaluation with the lowest held-out loss. best: the index of it in `eval_points`."""

    maps: dict[str, NetworkMap]
    eval_points: tuple[EvalPoint, ...]
    best: int


@dataclass(frozen=True)
class Batch:
    """Texts of a training step in one block, for further terms of the loss.

    before, made, targets: states [B, S, W] that the student gets, what it makes of them, and what they should become.
    weights: [B, S], a text's sum to 1; redacted: [B].
    """

    before: torch.Tensor
    made: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    redacted: torch.Tensor

    def vectors(self, states: torch.Tensor) -> torch.Tensor:
        """One vector for each text, [B, W]: the weighted mean of its states, half of it words and half tail."""
        return (self.weights[..., None] * states).sum(dim=1)


@dataclass(frozen=True)
class _Texts:
    """Texts in one block, padded to the longest: states, targets [N, S, W]; kinds, weights [N, S]; redacted [N]."""

    states: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    weights: torch.Tensor
    redacted: torch.Tensor

    def at(self, chosen: torch.Tensor) -> _Texts:
        return _Texts(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def train(
    examples: Sequence[Example],
    steps: int,
    seed: int,
    weight: float = WEIGHT,
    blend: float = BLEND,
    on_progress: Callable[[int], Any] = lambda step: None,
    further: Callable[[Batch], torch.Tensor] | None = None,
) -> Trained:
    """Trains a student for every block on the examples; a fifth of them is held out and decides when to stop.

    further: more terms of a block's loss; the choice of the best student goes without them.
    on_progress: called with the number of each step; an exception from it ends the training.
    Raises ValueError where there are too few texts to hold any out.
    """
    learned, held = split(examples)
    if not all(any(is_redacted(each) == kind for each in held) for kind in (True, False)):
        raise ValueError(
            f"redact, keep: expected at least {HELD_OUT} texts of each to learn from, got fewer. Write more lines."
        )
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        texts = {key: _together([each[key] for each in learned]) for key in examples[0]}
        others = {key: _together([each[key] for each in held]) for key in examples[0]}
        return _train(texts, others, steps, weight, blend, on_progress, further)


def _train(
    texts: dict[str, _Texts],
    others: dict[str, _Texts],
    steps: int,
    weight: float,
    blend: float,
    on_progress: Callable[[int], Any],
    further: Callable[[Batch], torch.Tensor] | None,
) -> Trained:
    students = {key: _student(each) for key, each in texts.items()}
    units = {key: _unit(each) for key, each in texts.items()}
    parameters = [p for student in students.values() for p in student.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=DECAY)
    groups = [next(iter(texts.values())).redacted == kind for kind in (True, False)]
    groups = [group.nonzero().flatten() for group in groups]
    eval_points = [EvalPoint(0, 0.0, *_losses(students, others, units))]
    best, best_students = 0, copy.deepcopy(students)
    running = 0.0
    for step in range(1, steps + 1):
        on_progress(step)
        for group in optimizer.param_groups:  # a warm start, then a slow end
            group["lr"] = LEARNING_RATE * min(step / 20, 1.0) * max(1.0 - step / steps, 0.05)
        chosen = torch.cat([group[torch.randint(len(group), (BATCH // 2,))] for group in groups])
        loss = torch.zeros(())
        for key, student in students.items():
            batch = texts[key].at(chosen)
            # The pooled output is the whole text: what is blended into it would have to stay.
            states = _blended(batch, blend) if blend and key != POOLED else batch.states
            made = states + student(states, batch.kinds)
            keep, redact = _distances(made, batch)
            loss = loss + (keep + weight * redact) / units[key] / len(students)
            if further is not None:
                terms = further(Batch(states, made, batch.targets, batch.weights, batch.redacted))
                loss = loss + terms / len(students)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        running += float(loss.detach())
        if step % EVERY == 0 or step == steps:
            since = step - eval_points[-1].step
            eval_points.append(EvalPoint(step, running / since, *_losses(students, others, units)))
            running = 0.0
            if _score(eval_points[-1], weight) < _score(eval_points[best], weight):
                best, best_students = len(eval_points) - 1, copy.deepcopy(students)
            elif len(eval_points) - 1 - best >= PATIENCE:
                break
    maps = {key: NetworkMap(student.eval()) for key, student in best_students.items()}
    return Trained(maps, tuple(eval_points), best)


def _score(point: EvalPoint, weight: float) -> float:
    return point.keep + weight * point.redact


def _losses(students: dict[str, Student], texts: dict[str, _Texts], units: dict[str, float]) -> tuple[float, float]:
    """(keep, redact), the means over the blocks."""
    with torch.no_grad():
        losses = [
            torch.stack(_distances(each.states + students[key](each.states, each.kinds), each)) / units[key]
            for key, each in texts.items()
        ]
    keep, redact = torch.stack(losses).mean(dim=0).tolist()
    return keep, redact


def _distances(made: torch.Tensor, texts: _Texts) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared distances of states from the targets, (of the texts to keep, of the texts to redact)."""
    apart = ((made - texts.targets).square().mean(dim=-1) * texts.weights).sum(dim=1)
    return apart[~texts.redacted].mean(), apart[texts.redacted].mean()


def _unit(texts: _Texts) -> float:
    """The mean squared distance from redacted texts to their references."""
    apart = ((texts.states - texts.targets).square().mean(dim=-1) * texts.weights).sum(dim=1)
    return max(float(apart[texts.redacted].mean()), 1e-12)


def _blended(batch: _Texts, blend: float) -> torch.Tensor:
    """The batch's states, with each changed word of a redacted text blended with a word of a kept text of the batch.

    The share of the kept word is drawn from 0 to `blend`; targets stay. A word far from its target counts as changed.
    """
    apart = (batch.states - batch.targets).square().mean(dim=-1)
    apart = apart.masked_fill(batch.kinds != WORD, 0.0)
    changed = batch.redacted[:, None] & (apart > 0.5 * apart.amax(dim=1, keepdim=True)) & (apart > 0)
    words = batch.states[(batch.kinds == WORD) & ~batch.redacted[:, None]]
    if not len(words):
        return batch.states
    others = words[torch.randint(len(words), (int(changed.sum()),))]
    part = blend * torch.rand(len(others), 1)
    states = batch.states.clone()
    states[changed] = (1 - part) * states[changed] + part * others
    return states


def _student(texts: _Texts) -> Student:
    rows = texts.states[texts.kinds >= START]
    centre = rows.mean(dim=0)
    scale = (rows - centre).square().mean().sqrt().clamp_min(LEAST_SCALE)
    return Student(centre, scale)


def _together(samples: Sequence[Sample]) -> _Texts:
    """Samples as one batch. A text's words have the same total weight as its tail, and are weighted equally."""
    longest = max(len(each.kinds) for each in samples)

    def filled(tensor: torch.Tensor, value: float) -> torch.Tensor:
        room = (0, longest - len(tensor)) if tensor.ndim == 1 else (0, 0, 0, longest - len(tensor))
        return F.pad(tensor, room, value=value)

    kinds = torch.stack([filled(each.kinds, PADDING) for each in samples])
    shares = [(kinds == kind) / (kinds == kind).sum(dim=1, keepdim=True).clamp_min(1) for kind in (WORD, TAIL)]
    weights = torch.stack(shares).sum(dim=0)
    return _Texts(
        torch.stack([filled(each.states, 0.0) for each in samples]),
        torch.stack([filled(each.targets, 0.0) for each in samples]),
        kinds,
        weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6),
        torch.tensor([each.redacted for each in samples]),
    )
