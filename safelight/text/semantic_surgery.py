"""Semantic Surgery (arXiv 2510.22851, NeurIPS 2025): concepts that a prompt names, taken out of its encoded text.

E is all states of a text. How much a prompt p has of a concept c_i is the mean over its positions of
cos(E(c_i) - E(""), E(p)), and rho_i = sigmoid((that - beta) / gamma) is the probability that the prompt names it. The
prompt becomes E(p) - rho (E("c_1, c_2, ...") - E("")), with the highest rho and the concepts whose rho is .5 or more.

The published beta (.06, .12, .28 or .30, by kind of concept) and gamma (.02) hold for one encoder. Ours are fitted to
the artist's: everyday phrases say what is usual for each concept, and one Platt calibration of the highest of all
concepts says what is too much. A calibration of each concept by itself would let the false alarms of a list add up.
Also ours: each chunk of a longer prompt is measured as a prompt, and start tokens, which say nothing, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import cosine_similarity

from safelight.text import risk as risks
from safelight.text.concept_vector import ConceptVector
from safelight.text.encoding import Encoding, Key, Part

_LEAST_SPREAD = 1e-6  # of cosines; below it a block says nothing


def difference(text: Encoding, empty: Encoding) -> ConceptVector:
    """E(text) - E("") by place in a chunk, and that of the pooled outputs.

    A text of several chunks is their mean. Where one of the two ends before the other (T5 without padding, or with
    padding that is zeroed), its last row stands for the places behind it.
    """
    rows = []
    for part, other in zip(text.parts, empty.parts, strict=True):
        both = _by_place(text, part), _by_place(empty, other)
        length = max(map(len, both))
        one, nothing = (torch.cat([each, each[-1:].expand(length - len(each), -1)]) for each in both)
        rows.append(one - nothing)
    pooled = None
    if text.pooled is not None and empty.pooled is not None:
        pooled = (text.pooled[0].float() - empty.pooled[0].float()).cpu()
    return ConceptVector(tuple(rows), tuple(part.blocks for part in text.parts), pooled)


def similarity(direction: ConceptVector, prompt: Encoding) -> dict[Key, float]:
    """By block, the mean cosine of the prompt's states with a difference(), of the chunk where it is highest."""
    rows_at, chosen = direction.at(prompt), _positions(prompt)
    found = {}
    for key, rows, columns in prompt.blocks():
        here = chosen[rows]
        states = prompt.states[0, rows, columns].float().cpu()
        cosines = cosine_similarity(rows_at[rows, columns][here], states[here], dim=-1)
        chunk = prompt.chunk[rows][here]
        found[key] = max((float(cosines[chunk == number].mean()) for number in chunk.unique()), default=0.0)
    return found


@dataclass(frozen=True)
class Scale:
    """What similarities mean in one block. mean, spread: [n], those of everyday phrases with each of n concepts.

    calibration: of the highest of a prompt's n similarities, each in spreads above its mean.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    calibration: risks.Calibration

    @classmethod
    def fit(cls, everyday: torch.Tensor, unsafe: torch.Tensor) -> Scale:
        """everyday: [m, n], unsafe: [k, n], similarities of phrases with the concepts."""
        mean, spread = everyday.mean(dim=0), everyday.std(dim=0, correction=0).clamp_min(_LEAST_SPREAD)
        highest = [((each - mean) / spread).amax(dim=1).tolist() for each in (everyday, unsafe)]
        return cls(mean, spread, risks.calibrate(*highest))

    def probabilities(self, similarities: torch.Tensor) -> list[float]:
        """rho of each concept, from its similarities [n]."""
        return [self.calibration.risk(score) for score in ((similarities - self.mean) / self.spread).tolist()]


def probabilities(scales: dict[Key, Scale], similarities: Sequence[dict[Key, float]]) -> list[float]:
    """rho of each concept: the highest of the blocks that can tell; 1 for every concept where none can.

    similarities: of the prompt with each concept, by block.
    """
    by_block = [
        scale.probabilities(torch.tensor([one[key] for one in similarities]))
        for key, scale in scales.items()
        if scale.calibration.can_tell
    ]
    return [max(of_concept) for of_concept in zip(*by_block, strict=True)] if by_block else [1.0] * len(similarities)


def selected(concepts: Sequence[str], rho: Sequence[float]) -> list[str]:
    """The concepts that the prompt names, the most probable first, so that the order of the list does not matter."""
    named = [(-p, concept) for concept, p in zip(concepts, rho, strict=True) if p >= risks.DECISION]
    return [concept for _, concept in sorted(named)]


def cut(
    direction: ConceptVector,
    prompt: Encoding,
    states: torch.Tensor,
    pooled: torch.Tensor | None,
    amount: float,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The prompt's states [B, T, W] and pooled output [B, D] less `amount` times a difference().

    prompt: the same text without token weights. A token's weight scales what it loses, as it scales what it says.
    Start tokens and zeroed padding keep their bits; with amount 0 everything does.
    """
    return direction.subtract(replace(prompt, tail=prompt.tail & _positions(prompt)), states, pooled, amount)


def _positions(encoding: Encoding) -> torch.Tensor:
    """The words and the tails that say something: not those that the encoder set to 0. Boolean [T]."""
    return (encoding.content | encoding.tail) & encoding.states[0].ne(0).any(dim=-1).cpu()


def _by_place(encoding: Encoding, part: Part) -> torch.Tensor:
    """The states [P, W] by place in a chunk, the mean of its chunks, up to the last one that is not set to 0."""
    states = encoding.states[0, part.start : part.stop].float().cpu()
    places, filled = encoding.position[part.start : part.stop], states.ne(0).any(dim=-1)
    if not filled.any():
        return states[:1]
    length = int(places[filled].max()) + 1
    count = torch.zeros(length).index_add(0, places[filled], torch.ones(int(filled.sum())))
    total = torch.zeros(length, states.shape[1]).index_add(0, places[filled], states[filled])
    return total / count.clamp_min(1)[:, None]
