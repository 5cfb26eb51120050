"""Redaction of texts by a linear map of their states, solved in closed form.

After Kong and Chaudhuri, "Data Redaction from Conditional Generative Models" (SaTML 2024, arXiv 2305.11351): the
generator stays as it is, and its conditioning network H is distilled into H', which gives a redacted text c the
conditioning of a reference text and leaves all other texts alone. The paper's exact loss was not available to us. Here
H' is linear in centred states, with the ridge solution of

    sum_k |A h(c_k) - h(ref_k)|^2 + keep sum_j |A h_j - h_j|^2 + ridge |A - I|^2 .

How tokens of a text are matched with tokens of its reference is our choice, see `targets`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch

START, WORD, TAIL = 0, 1, 2  # kinds of tokens: the start token; words; end token and padding
CUTOFF = 1e-4  # directions of the map below this share of the strongest are left out
KEEP, RIDGE = 1.0, 0.03  # the defaults of fit
TAIL_SAMPLES = 8  # tail tokens of a text that take part in a fit: the first one, and others at even distances after it
HELD_OUT = 5  # one text in so many is held out to evaluate a fit
POOLED = "pooled"  # the key of the pooled output; the keys of blocks of token states are "part.block"


@dataclass(frozen=True)
class ChunkStates:
    """A chunk of a text in one block of its encoder. tokens: S ids; kinds: [S]; states: [S, W]."""

    tokens: tuple[Hashable, ...]
    kinds: torch.Tensor
    states: torch.Tensor


@dataclass(frozen=True)
class Sample:
    """States [S, W] with kinds [S], and the targets [S, W] for them. The targets of a text to keep are its states."""

    states: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    redacted: bool


Example = Mapping[str, Sample]  # the samples of one text, by block


def targets(chunk: ChunkStates, reference: ChunkStates) -> torch.Tensor:
    """The target states [S, W] of a redacted text, from the states of its reference.

    The words that both texts begin with are matched one by one, and so are the words that both end with. The target of
    all words between them is the mean of the reference's words between them, or of all its words where it has none
    there. The end token goes to the end token, and padding to the token at the same place, or to the end token where
    that is a word.
    """
    words, others = _places(chunk, WORD), _places(reference, WORD)
    start = _common([chunk.tokens[i] for i in words], [reference.tokens[i] for i in others])
    rest = len(words) - start, len(others) - start
    stop = min(_common([chunk.tokens[i] for i in words[::-1]], [reference.tokens[i] for i in others[::-1]]), *rest)
    result = chunk.states.clone()
    middle = others[start : len(others) - stop] or others
    for place, i in enumerate(words):
        if place < start:
            result[i] = reference.states[others[place]]
        elif place >= len(words) - stop:
            result[i] = reference.states[others[place - len(words)]]
        elif middle:
            result[i] = reference.states[middle].mean(dim=0)
    tail = _places(reference, TAIL)
    for place, i in enumerate(_places(chunk, TAIL)):
        if tail:
            same = i if place and i in tail else tail[-1] if i > tail[-1] else tail[0]
            result[i] = reference.states[same]
    return result


def sample(chunk: ChunkStates, reference: ChunkStates | None = None) -> Sample:
    """The words and TAIL_SAMPLES tail tokens of a text to keep or, where a reference is given, of a text to redact."""
    tail = _places(chunk, TAIL)
    if len(tail) > TAIL_SAMPLES:
        tail = [tail[i * (len(tail) - 1) // (TAIL_SAMPLES - 1)] for i in range(TAIL_SAMPLES)]
    chosen = sorted([*_places(chunk, WORD), *tail])
    after = chunk.states if reference is None else targets(chunk, reference)
    return Sample(chunk.states[chosen].float(), after[chosen].float(), chunk.kinds[chosen], reference is not None)


def _places(chunk: ChunkStates, kind: int) -> list[int]:
    return [i for i, each in enumerate(chunk.kinds.tolist()) if each == kind]


def _common(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """How many tokens both begin with."""
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same


def ridge_map(
    before: torch.Tensor, after: torch.Tensor, preserved: torch.Tensor, keep: float, ridge: float
) -> torch.Tensor:
    """A [W, W] that maps the rows h of `before` near the rows h' of `after` [n, W], and rows k of `preserved` near k.

    A = (sum h' h^T + keep sum k k^T + ridge I)(sum h h^T + keep sum k k^T + ridge I)^-1, in double precision.
    """
    up, down = residual_factors(before, after, preserved, keep, ridge, cutoff=0.0)
    return torch.eye(before.shape[1], dtype=torch.float64) + up @ down


def residual_factors(
    before: torch.Tensor,
    after: torch.Tensor,
    preserved: torch.Tensor,
    keep: float,
    ridge: float,
    cutoff: float = CUTOFF,
) -> tuple[torch.Tensor, torch.Tensor]:
    """ridge_map minus the identity as factors [W, r] and [r, W], r at most n; float64.

    It is sum (h' - h) h^T times the inverse of ridge_map's second factor, so its rank is that of the differences.
    Directions with a singular value below `cutoff` times the largest are left out.
    """
    before, after, preserved = before.double(), after.double(), preserved.double()
    width = before.shape[1]
    moment = before.T @ before + keep * preserved.T @ preserved + ridge * torch.eye(width, dtype=torch.float64)
    solved = torch.linalg.solve(moment, before.T)  # [W, n]
    left, left_core = torch.linalg.qr((after - before).T)
    right, right_core = torch.linalg.qr(solved)
    u, values, v = torch.linalg.svd(left_core @ right_core.T)
    rank = int((values > cutoff * values[:1].clamp_min(1e-30)).sum()) if len(values) else 0
    return left @ (u[:, :rank] * values[:rank]), v[:rank] @ right.T


@dataclass(frozen=True)
class LinearMap:
    """H' = H + up down (H - centre), once for words and once for the tail; float32. The start token stays.

    centre: [2, W]; up: [2, W, r]; down: [2, r, W], words first.
    """

    centre: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor

    def apply(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """States [B, S, W] of chunks with kinds [B, S], mapped."""
        result = states.clone()
        for i, kind in enumerate((WORD, TAIL)):
            chosen = kinds == kind
            rows = states[chosen]
            centre, up, down = (t[i].to(states.device) for t in (self.centre, self.up, self.down))
            result[chosen] = rows + ((rows - centre) @ down.T) @ up.T
        return result

    @property
    def width(self) -> int:
        return self.centre.shape[1]

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"centre": self.centre, "up": self.up, "down": self.down}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> LinearMap:
        """The map that `tensors` gave. Raises KeyError or ValueError for other tensors.

        They are copied: a file's tensors are aligned differently in memory, and products then round differently.
        """
        centre, up, down = (tensors[name].float().clone() for name in ("centre", "up", "down"))
        words_and_tail = centre.ndim == 2 and len(centre) == 2
        if not words_and_tail or up.ndim != 3 or up.shape[:2] != centre.shape or down.shape != up.mT.shape:
            shapes = f"{tuple(centre.shape)}, {tuple(up.shape)} and {tuple(down.shape)}"
            raise ValueError(f"tensors: expected centre [2, W], up [2, W, r] and down [2, r, W], got {shapes}")
        return cls(centre, up, down)


def fit(examples: Sequence[Example], keep: float = KEEP, ridge: float = RIDGE) -> dict[str, LinearMap]:
    """The map of every block, from texts to redact and texts to keep.

    keep: the weight of keeping relative to redacting. ridge: the weight of staying at the identity, as a share of the
        kept texts' mean variance. Either group of texts has the same total weight, however many texts it has.
    """
    return {key: _fit([example[key] for example in examples], keep, ridge) for key in examples[0]}


def _fit(samples: Sequence[Sample], keep: float, ridge: float) -> LinearMap:
    width = samples[0].states.shape[1]
    parts = []
    for kind in (WORD, TAIL):
        rows = [(part.states[part.kinds == kind], part.targets[part.kinds == kind], part.redacted) for part in samples]
        preserved = torch.cat([before for before, _, redacted in rows if not redacted] or [torch.zeros(0, width)])
        before = torch.cat([before for before, _, redacted in rows if redacted] or [torch.zeros(0, width)])
        after = torch.cat([after for _, after, redacted in rows if redacted] or [torch.zeros(0, width)])
        everyday = preserved if len(preserved) else before
        centre = everyday.mean(dim=0) if len(everyday) else torch.zeros(width)
        scale, preserved_scale = max(len(before), 1) ** -0.5, max(len(preserved), 1) ** -0.5
        preserved = preserved_scale * (preserved - centre)
        floor = max(ridge * float(preserved.square().sum()) / width, 1e-9)
        up, down = residual_factors(scale * (before - centre), scale * (after - centre), preserved, keep, floor)
        parts.append((centre, up.float(), down.float()))
    rank = max(up.shape[1] for _, up, _ in parts)
    return LinearMap(
        torch.stack([centre for centre, _, _ in parts]),
        torch.stack([torch.nn.functional.pad(up, (0, rank - up.shape[1])) for _, up, _ in parts]),
        torch.stack([torch.nn.functional.pad(down, (0, 0, 0, rank - down.shape[0])) for _, _, down in parts]),
    )


def held_out_fit(examples: Sequence[Example], keep: float = KEEP, ridge: float = RIDGE) -> tuple[float, float]:
    """Mean squared distances from the targets, (of kept texts, of redacted texts), for texts that `fit` did not see.

    Both are shares of the distance from redacted texts to their references, and means over the blocks. NaN where there
    are too few texts to hold any out.
    """
    learned, held = split(examples)
    if not any(map(is_redacted, learned)) or not any(map(is_redacted, held)) or all(map(is_redacted, held)):
        return float("nan"), float("nan")
    maps = fit(learned, keep, ridge)
    distances = []
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
        distances.append(torch.stack([torch.stack(apart[False]).mean(), torch.stack(apart[True]).mean()]) / unit)
    of_kept, of_redacted = torch.stack(distances).mean(dim=0).tolist()
    return of_kept, of_redacted


def split(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Texts to learn from, and the held-out texts, every fifth of either group."""
    learned: list[Example] = []
    held: list[Example] = []
    for redacted in (True, False):
        group = [each for each in examples if is_redacted(each) == redacted]
        learned += [each for i, each in enumerate(group) if i % HELD_OUT != HELD_OUT - 1]
        held += [each for i, each in enumerate(group) if i % HELD_OUT == HELD_OUT - 1]
    return learned, held


def is_redacted(example: Example) -> bool:
    return next(iter(example.values())).redacted
