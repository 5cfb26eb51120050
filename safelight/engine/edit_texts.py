"""The texts of an edit as the maths wants them: what is erased, what stands in its place, and what is preserved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from safelight.edits.uce import gram
from safelight.engine.encoder import encode_neutral
from safelight.text.encoding import Encoding

TOKENS = ("last", "all")
# A state is the same in two texts where it differs by less than this share (in causal encoders texts that begin alike
# have such states).
_ALIKE = 1e-3


@dataclass
class Texts:
    """What one reader of a model reads. erased, guides: [n, D]; kept: [D, D], the gram of `count` preserved rows."""

    erased: torch.Tensor
    guides: torch.Tensor
    kept: torch.Tensor
    count: int


def read_texts(
    clip: Any,
    readers: Sequence[str],
    erase: list[str],
    instead: str,
    preserve: list[str],
    tokens: str,
    told: Callable[[], None],
) -> dict[str, Texts]:
    """The texts by reader: "text" reads the tokens' states, "pooled" the one vector of the whole text.

    tokens: "last", the last word of each erased text; "all", all its tokens, its end and padding too. Each is paired
    with the same of `instead`; an empty one has no words, so there it is the token in the same place. Of preserved
    texts all tokens count; a state that one of them has in the same place is not erased. told: called after every
    text. Raises ValueError, naming the input.
    """

    def encode(text: str) -> Encoding:
        encoding = encode_neutral(clip, text).check(f"the text {text!r}")
        told()
        return encoding

    guide = encode(instead)
    encodings = [encode(text) for text in erase]
    found = {reader: _Collected(reader, encodings, guide, tokens) for reader in readers}
    for text in preserve:
        encoding = encode(text)
        for collected in found.values():
            collected.keep(encoding)
    return {reader: collected.texts() for reader, collected in found.items()}


class _Collected:
    """The rows of one reader."""

    def __init__(self, reader: str, erased: list[Encoding], guide: Encoding, tokens: str) -> None:
        self.reader = reader
        pairs = [_pairs(one, guide, tokens) if reader == "text" else [(0, 0)] for one in erased]
        self.places = torch.tensor([place for own in pairs for place, _ in own], dtype=torch.long)
        self.erased = torch.cat([self.rows(e)[[i for i, _ in own]] for e, own in zip(erased, pairs, strict=True)])
        self.guides = torch.cat([self.rows(guide)[[j for _, j in own]] for own in pairs])
        self.kept = torch.zeros(self.erased.shape[1], self.erased.shape[1], dtype=torch.float64)
        self.count = 0
        self.shared = torch.zeros(len(self.erased), dtype=torch.bool)

    def rows(self, encoding: Encoding) -> torch.Tensor:
        """[T, D] in float64: the tokens' states, or the one vector."""
        if self.reader == "text":
            return encoding.states[0].double().cpu()
        if encoding.pooled is None:
            raise ValueError("clip: it gives no pooled output, which this model reads; link the model's own encoder.")
        return encoding.pooled[:1].double().cpu()

    def keep(self, encoding: Encoding) -> None:
        rows = self.rows(encoding)
        self.kept += gram(rows)
        self.count += len(rows)
        near = (self.erased - rows[self.places.clamp_max(len(rows) - 1)]).norm(dim=1)
        self.shared |= near <= _ALIKE * self.erased.norm(dim=1)

    def texts(self) -> Texts:
        if bool(self.shared.all()):
            raise ValueError("preserve: it holds everything that is to be erased; take one of the two out.")
        return Texts(self.erased[~self.shared], self.guides[~self.shared], self.kept, self.count)


def _pairs(erased: Encoding, guide: Encoding, tokens: str) -> list[tuple[int, int]]:
    """Which rows are erased, and the row of the guide that each is paired with, part by part."""
    pairs = []
    for own, other in zip(erased.parts, guide.parts, strict=True):
        words, others = (torch.nonzero(e.content[p.start : p.stop]) for e, p in ((erased, own), (guide, other)))
        chosen = range(own.stop - own.start) if tokens == "all" or not len(words) else [int(words[-1])]
        for place in chosen:
            fitting = int(others[-1]) if tokens == "last" and len(others) else min(place, other.stop - other.start - 1)
            pairs.append((own.start + place, other.start + fitting))
    return pairs
