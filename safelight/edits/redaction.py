"""Redaction of texts by a linear map of their states, solved in closed form.

After Kong and Chaudhuri, "Data Redaction from Conditional Generative Models" (SaTML 2024, arXiv 2305.11351): the
generator stays as it is, and its conditioning network H is distilled into H' that gives a redacted text c the
conditioning of a reference text, and leaves all others alone. The paper's exact loss was not available to us. Here H'
is linear in centred states, with the ridge solution of

    sum_k |A h(c_k) - h(ref_k)|^2 + keep sum_j |A h_j - h_j|^2 + ridge |A - I|^2 .

Which token of a text answers to which of its reference is our choice, see `targets`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

START, WORD, TAIL = 0, 1, 2  # kinds of tokens: the start token; words; end token and padding
CUTOFF = 1e-4  # directions of the map below this part of the strongest are left out
KEEP, RIDGE = 1.0, 0.03  # the defaults of fit
TAIL_SAMPLES = 8  # tail tokens of a text that take part in a fit: the first, and others evenly after it
HELD_OUT = 5  # every fifth text is held out of a fit that is judged
POOLED = "pooled"  # the key of the pooled output; blocks of token states are called "part.block"


@dataclass(frozen=True)
class ChunkStates:
    """A chunk of a text in one block of its encoder. tokens: S ids; kinds: [S]; states: [S, W]."""

    tokens: tuple[Hashable, ...]
    kinds: torch.Tensor
    states: torch.Tensor


@dataclass(frozen=True)
class Sample:
    """What states [S, W] are to become: targets [S, W], by kinds [S]. A text to keep has its states as targets."""

    states: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    redacted: bool


Example = Mapping[str, Sample]  # a text, by block


def targets(piece: ChunkStates, reference: ChunkStates) -> torch.Tensor:
    """What the states of a redacted text are to become, [S, W], given those of its reference.

    Words that both texts begin with, and those that both end with, answer to each other one by one. All words between
    them go to the mean of the reference's words between them; where it has none, to the mean of its words. The end
    token answers to the end token, padding to what stands at the same place, and where that is a word to the end token.
    """
    mine, its = _places(piece, WORD), _places(reference, WORD)
    start = _common([piece.tokens[i] for i in mine], [reference.tokens[i] for i in its])
    rest = len(mine) - start, len(its) - start
    stop = min(_common([piece.tokens[i] for i in mine[::-1]], [reference.tokens[i] for i in its[::-1]]), *rest)
    result = piece.states.clone()
    middle = its[start : len(its) - stop] or its
    for place, i in enumerate(mine):
        if place < start:
            result[i] = reference.states[its[place]]
        elif place >= len(mine) - stop:
            result[i] = reference.states[its[place - len(mine)]]
        elif middle:
            result[i] = reference.states[middle].mean(dim=0)
    tail = _places(reference, TAIL)
    for place, i in enumerate(_places(piece, TAIL)):
        if tail:
            same = i if place and i in tail else tail[-1] if i > tail[-1] else tail[0]
            result[i] = reference.states[same]
    return result


def sample(piece: ChunkStates, reference: ChunkStates | None = None) -> Sample:
    """A text to keep, or one to redact where a reference is given; its words, and TAIL_SAMPLES of its tail."""
    tail = _places(piece, TAIL)
    if len(tail) > TAIL_SAMPLES:
        tail = [tail[i * (len(tail) - 1) // (TAIL_SAMPLES - 1)] for i in range(TAIL_SAMPLES)]
    chosen = sorted([*_places(piece, WORD), *tail])
    after = piece.states if reference is None else targets(piece, reference)
    return Sample(piece.states[chosen].float(), after[chosen].float(), piece.kinds[chosen], reference is not None)


def _places(piece: ChunkStates, kind: int) -> list[int]:
    return [i for i, each in enumerate(piece.kinds.tolist()) if each == kind]


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many tokens both begin with."""
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same


def ridge_map(before: torch.Tensor, after: torch.Tensor, kept: torch.Tensor, keep: float, ridge: float) -> torch.Tensor:
    """A [W, W] with A h near h' for rows h, h' of `before` and `after` [n, W], and near h for those of `kept` [m, W].

    A = (sum h' h^T + keep sum k k^T + ridge I)(sum h h^T + keep sum k k^T + ridge I)^-1, in double precision.
    """
    up, down = residual_factors(before, after, kept, keep, ridge, cutoff=0.0)
    return torch.eye(before.shape[1], dtype=torch.float64) + up @ down


def residual_factors(
    before: torch.Tensor, after: torch.Tensor, kept: torch.Tensor, keep: float, ridge: float, cutoff: float = CUTOFF
) -> tuple[torch.Tensor, torch.Tensor]:
    """ridge_map less the identity as factors [W, r] and [r, W], r at most n; float64.

    It is sum (h' - h) h^T times the inverse of ridge_map's second factor, so that its rank is that of the differences.
    Directions with a singular value below `cutoff` times the largest are left out.
    """
    before, after, kept = before.double(), after.double(), kept.double()
    width = before.shape[1]
    moment = before.T @ before + keep * kept.T @ kept + ridge * torch.eye(width, dtype=torch.float64)
    solved = torch.linalg.solve(moment, before.T)  # [W, n]
    left, left_core = torch.linalg.qr((after - before).T)
    right, right_core = torch.linalg.qr(solved)
    u, values, v = torch.linalg.svd(left_core @ right_core.T)
    rank = int((values > cutoff * values[:1].clamp_min(1e-30)).sum()) if len(values) else 0
    return left @ (u[:, :rank] * values[:rank]), v[:rank] @ right.T


@dataclass(frozen=True)
class LinearMap:
    """H' = H + up down (H - centre), for words and for the tail each; float32.

    centre: [2, W]; up: [2, W, r]; down: [2, r, W], words first. The start token stays.
    """

    centre: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor

    def apply(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """States [B, S, W] of chunks with kinds [B, S], mapped."""
        result = states.clone()
        for i, kind in enumerate((WORD, TAIL)):
            chosen = kinds == kind
            own = states[chosen]
            centre, up, down = (t[i].to(states.device) for t in (self.centre, self.up, self.down))
            result[chosen] = own + ((own - centre) @ down.T) @ up.T
        return result

    @property
    def width(self) -> int:
        return self.centre.shape[1]

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"centre": self.centre, "up": self.up, "down": self.down}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> LinearMap:
        """Raises KeyError or ValueError where the tensors are those of something else.

        They are copied: a file's lie at other addresses than torch's own, and products then round differently.
        """
        centre, up, down = (tensors[name].float().clone() for name in ("centre", "up", "down"))
        if centre.ndim != 2 or up.shape != (*centre.shape, up.shape[-1]) or down.shape != up.mT.shape:
            raise ValueError(f"sizes {tuple(centre.shape)}, {tuple(up.shape)}, {tuple(down.shape)} don't fit together")
        return cls(centre, up, down)


def fit(examples: Sequence[Example], keep: float = KEEP, ridge: float = RIDGE) -> dict[str, LinearMap]:
    """The map of every block, from texts to redact and texts to keep.

    keep: how much keeping counts against redacting. ridge: how much standing still counts, as a part of the kept
        texts' mean variance. Both groups of texts count as their means, however many there are.
    """
    return {key: _fit([example[key] for example in examples], keep, ridge) for key in examples[0]}


def _fit(samples: Sequence[Sample], keep: float, ridge: float) -> LinearMap:
    width = samples[0].states.shape[1]
    parts = []
    for kind in (WORD, TAIL):
        rows = [(part.states[part.kinds == kind], part.targets[part.kinds == kind], part.redacted) for part in samples]
        kept = torch.cat([before for before, _, redacted in rows if not redacted] or [torch.zeros(0, width)])
        before = torch.cat([before for before, _, redacted in rows if redacted] or [torch.zeros(0, width)])
        after = torch.cat([after for _, after, redacted in rows if redacted] or [torch.zeros(0, width)])
        centre = (kept if len(kept) else before).mean(dim=0) if len(kept) + len(before) else torch.zeros(width)
        scale, kept_scale = max(len(before), 1) ** -0.5, max(len(kept), 1) ** -0.5
        kept = kept_scale * (kept - centre)
        floor = ridge * float(kept.square().sum()) / width
        up, down = residual_factors(scale * (before - centre), scale * (after - centre), kept, keep, max(floor, 1e-9))
        parts.append((centre, up.float(), down.float()))
    rank = max(up.shape[1] for _, up, _ in parts)
    return LinearMap(
        torch.stack([centre for centre, _, _ in parts]),
        torch.stack([torch.nn.functional.pad(up, (0, rank - up.shape[1])) for _, up, _ in parts]),
        torch.stack([torch.nn.functional.pad(down, (0, 0, 0, rank - down.shape[0])) for _, _, down in parts]),
    )


def held_out_fit(examples: Sequence[Example], keep: float = KEEP, ridge: float = RIDGE) -> tuple[float, float]:
    """(kept, redacted) of texts that `fit` did not see: mean squared distances from where they should be.

    Both as parts of the distance from redacted texts to their references, the mean over the blocks. Not a number where
    there are too few texts to hold any out.
    """
    learned, held = split(examples)
    if not any(map(is_redacted, learned)) or not any(map(is_redacted, held)) or all(map(is_redacted, held)):
        return float("nan"), float("nan")
    maps = fit(learned, keep, ridge)
    found = []
    for key, each in maps.items():
        apart: dict[bool, list[torch.Tensor]] = {True: [], False: []}
        before = []
        for example in held:
            one = example[key]
            made = each.apply(one.states[None], one.kinds[None])[0]
            apart[one.redacted].append((made - one.targets).square().mean())
            if one.redacted:
                before.append((one.states - one.targets).square().mean())
        unit = torch.stack(before).mean().clamp_min(1e-12)
        found.append(torch.stack([torch.stack(apart[False]).mean(), torch.stack(apart[True]).mean()]) / unit)
    kept, redacted = torch.stack(found).mean(dim=0).tolist()
    return kept, redacted


def split(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Texts to learn from, and every fifth of both groups, which is held out."""
    learned: list[Example] = []
    held: list[Example] = []
    for redacted in (True, False):
        group = [each for each in examples if is_redacted(each) == redacted]
        learned += [each for i, each in enumerate(group) if i % HELD_OUT != HELD_OUT - 1]
        held += [each for i, each in enumerate(group) if i % HELD_OUT == HELD_OUT - 1]
    return learned, held


def is_redacted(example: Example) -> bool:
    return next(iter(example.values())).redacted
