"""Latent Guard (Liu et al., arXiv 2404.08031): whether a prompt holds a concept, by cross-attention on encoder states.

A concept c is the state z_c of its phrase's end token. A prompt p is that of its own end token, and all rows behind it:
z_p. With heads of HEAD columns,

    q = W_q z_c,   k = W_k z_p,   v = W_v z_p,   p|c = W_p softmax(q k^T / sqrt(HEAD)) v,   f_c = W_f q,

    s(p, c) = tau cos(p|c, f_c),

and the prompt's score is the highest s of the list. All five maps have a bias; there is no residual, norm or dropout,
and tau is learned as it is. The text encoder stays frozen. Ours: the sizes for other widths than the paper's, that
states are centred and scaled, that z_p has the words alone and not the rows that fill a chunk up, and the noise on all
states in training, without which a head that sees few things learns those by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

HEAD = 32  # columns
TAU = 1 / 0.07  # before training
STEPS, LEARNING_RATE, DECAY = 200, 1e-3, 1e-2
NOISE = 1.0  # in training, of the states' scale
MOST_CONCEPTS = 32  # of a step; 64 in the paper, and no better in ours
LEAST_SCALE = 1e-6  # of a block's states


def sizes(width: int) -> tuple[int, int]:
    """Columns inside and of the features, for states of this width; the paper's are 512 and 128 for 768."""
    inner = HEAD * min(max(width // 48, 4), 16)
    return inner, max(inner // 4, 64)


@dataclass(frozen=True)
class Rows:
    """Texts in one block of an encoder. states: [N, R, W], the end token's first; present: boolean [N, R]."""

    states: torch.Tensor
    present: torch.Tensor

    @classmethod
    def of(cls, texts: Sequence[torch.Tensor]) -> Rows:
        """texts: each [R, W], of its own length."""
        states = nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
        lengths = torch.tensor([len(rows) for rows in texts])
        return cls(states, torch.arange(states.shape[1]) < lengths[:, None])

    def __getitem__(self, chosen: torch.Tensor) -> Rows:
        present = self.present[chosen]
        longest = int(present.sum(dim=1).max())
        return Rows(self.states[chosen][:, :longest], present[:, :longest])


class GuardHead(nn.Module):
    """The head of one block. centre: [W], and scale: [], of the states that it learned from."""

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, centre: torch.Tensor, scale: torch.Tensor, inner: int, features: int) -> None:
        super().__init__()
        width = len(centre)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.prompt_feature = nn.Linear(inner, features)
        self.concept_feature = nn.Linear(inner, features)
        self.tau = nn.Parameter(torch.tensor(TAU))

    def forward(self, rows: Rows, concepts: torch.Tensor) -> torch.Tensor:
        """s of N texts and concepts [C, W]: [N, C]."""
        query = self.query(self._scaled(concepts))
        value = _by_head(self.value(self._scaled(rows.states)))
        found = torch.einsum("nchr,nrhd->nchd", self._attention(rows, query), value).flatten(2)
        cosine = F.cosine_similarity(self.prompt_feature(found), self.concept_feature(query), dim=-1)
        return self.tau * cosine

    def attention(self, rows: Rows, concepts: torch.Tensor) -> torch.Tensor:
        """How much each row answers a concept, mean over the heads: [N, C, R]."""
        return self._attention(rows, self.query(self._scaled(concepts))).mean(dim=2)

    def _attention(self, rows: Rows, query: torch.Tensor) -> torch.Tensor:
        key = _by_head(self.key(self._scaled(rows.states)))
        logits = torch.einsum("chd,nrhd->nchr", _by_head(query), key) / HEAD**0.5
        return logits.masked_fill(~rows.present[:, None, None], -torch.inf).softmax(dim=-1)

    def _scaled(self, states: torch.Tensor) -> torch.Tensor:
        return (states - self.centre) / self.scale

    @classmethod
    def of_tensors(cls, tensors: dict[str, torch.Tensor]) -> GuardHead:
        """The head that `state_dict` gave. Raises KeyError, TypeError, ValueError or RuntimeError for other tensors."""
        centre, scale = tensors["centre"], tensors["scale"]
        if centre.ndim != 1 or scale.ndim != 0 or not float(scale) > LEAST_SCALE / 2:  # it may have been rounded
            raise ValueError(f"tensors: expected centre [W] and a scale of at least {LEAST_SCALE:g}")
        inner, features = len(tensors["query.bias"]), len(tensors["concept_feature.bias"])
        if inner % HEAD:
            raise ValueError(f"tensors: expected heads of {HEAD} columns, got {inner} columns")
        head = cls(centre, scale, inner, features)
        head.load_state_dict(tensors)
        return head.requires_grad_(False).eval()


def _by_head(columns: torch.Tensor) -> torch.Tensor:
    return columns.unflatten(-1, (-1, HEAD))


def contrastive_loss(unsafe: torch.Tensor, safe: torch.Tensor) -> torch.Tensor:
    """Of the scores [n, n] of n unsafe prompts, each of another concept, and of their n safe twins, with n concepts.

    As the released code has it: each prompt finds its concept among all concepts and the twins' highest scores, and
    each concept its prompt among all prompts and twins.
    """
    n = len(unsafe)
    target = torch.arange(n)
    rows = torch.cat([unsafe, safe.amax(dim=1).expand(n, n)], dim=1)
    columns = torch.cat([unsafe.T, safe.T], dim=1)
    return F.cross_entropy(rows, target) + F.cross_entropy(columns, target)


@dataclass(frozen=True)
class Lesson:
    """What a head learns from, in one block: texts, concepts [C, W] and pairs [P, 3] of whole numbers: the concept,
    the text that holds it, and its safe twin. Every concept has a pair."""

    texts: Rows
    concepts: torch.Tensor
    pairs: torch.Tensor


def train(lesson: Lesson, seed: int, on_step: Callable[[], Any] = lambda: None, steps: int = STEPS) -> GuardHead:
    """A head for this block, the same for the same seed. on_step: called before each step; an exception ends it."""
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _train(lesson, steps, on_step)


def _train(lesson: Lesson, steps: int, on_step: Callable[[], Any]) -> GuardHead:
    learned = lesson.texts.states[lesson.texts.present]
    centre = learned.mean(dim=0)
    scale = (learned - centre).square().mean().sqrt().clamp_min(LEAST_SCALE)
    head = GuardHead(centre, scale, *sizes(len(centre)))
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)

    def noisy(states: torch.Tensor) -> torch.Tensor:
        return states + NOISE * scale * torch.randn_like(states)

    of_concept = [(lesson.pairs[:, 0] == c).nonzero().flatten() for c in range(len(lesson.concepts))]
    for _ in range(steps):
        on_step()
        chosen = torch.randperm(len(of_concept))[:MOST_CONCEPTS]
        places = [of_concept[c][torch.randint(len(of_concept[c]), ())] for c in chosen]
        _, unsafe, safe = lesson.pairs[torch.stack(places)].T
        texts, concepts = lesson.texts[torch.cat([unsafe, safe])], lesson.concepts[chosen]
        scores = head(Rows(noisy(texts.states), texts.present), noisy(concepts))
        loss = contrastive_loss(*scores.chunk(2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.requires_grad_(False).eval()
