"""The encoded texts of an edit: the erased ones, the guides in their place, and the preserved ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from safelight.edits.uce import gram
from safelight.engine.encoder import check_known, encode_neutral
from safelight.text.encoding import Encoding

if TYPE_CHECKING:
    from comfy.sd import CLIP

TOKENS = ("last", "all")
# States of two texts count as the same where they differ by less than this share. In causal encoders texts that begin
# alike have such states.
_ALIKE = 1e-3


@dataclass
class Texts:
    """The texts of an edit for one reader of a model.

    erased, guides: [n, D]; preserved_gram: [D, D], of `preserved_count` rows.
    """

    erased: torch.Tensor
    guides: torch.Tensor
    preserved_gram: torch.Tensor
    preserved_count: int


def read_texts(
    clip: CLIP,
    readers: Sequence[str],
    erase: list[str],
    instead: str,
    preserve: list[str],
    tokens: str,
    on_progress: Callable[[], None],
) -> dict[str, Texts]:
    """The texts by reader: "text" reads the tokens' states, "pooled" the one vector of the whole text.

    tokens: "last" erases the last word of each text, "all" all its tokens, its end and padding too. Each token is
    paired with that of `instead`; an empty text has no words, so there it is the token in the same place. All tokens
    of preserved texts count, and a state that one of them has in the same place is not erased.
    on_progress: called after every text. Raises ValueError, naming the input.
    """

    def encode(input_name: str, text: str) -> Encoding:
        check_known(clip, text, input_name)
        encoding = encode_neutral(clip, text).check(f"the text {text!r}")
        on_progress()
        return encoding

    guide = encode("instead", instead)
    encodings = [encode("erase", text) for text in erase]
    rows_by_reader = {reader: _Rows(reader, encodings, guide, tokens) for reader in readers}
    for text in preserve:
        encoding = encode("preserve", text)
        for rows in rows_by_reader.values():
            rows.preserve(encoding)
    return {reader: rows.texts() for reader, rows in rows_by_reader.items()}


class _Rows:
    """The rows of one reader. shared: those of the erased rows that a preserved text has in the same place."""

    def __init__(self, reader: str, erased: list[Encoding], guide: Encoding, tokens: str) -> None:
        self.reader = reader
        pairs = [_pairs(one, guide, tokens) if reader == "text" else [(0, 0)] for one in erased]
        self.places = torch.tensor([i for of_text in pairs for i, _ in of_text], dtype=torch.long)
        self.erased = torch.cat([self.of(e)[[i for i, _ in of_text]] for e, of_text in zip(erased, pairs, strict=True)])
        self.guides = torch.cat([self.of(guide)[[j for _, j in of_text]] for of_text in pairs])
        self.preserved_gram = torch.zeros(self.erased.shape[1], self.erased.shape[1], dtype=torch.float64)
        self.preserved_count = 0
        self.shared = torch.zeros(len(self.erased), dtype=torch.bool)

    def of(self, encoding: Encoding) -> torch.Tensor:
        """[T, D] in float64: the tokens' states, or the one vector."""
        if self.reader == "text":
            return encoding.states[0].double().cpu()
        if encoding.pooled is None:
            raise ValueError(
                "clip: expected a pooled output, which this model reads, got none. Link the model's own text encoder."
            )
        return encoding.pooled[:1].double().cpu()

    def preserve(self, encoding: Encoding) -> None:
        rows = self.of(encoding)
        self.preserved_gram += gram(rows)
        self.preserved_count += len(rows)
        near = (self.erased - rows[self.places.clamp_max(len(rows) - 1)]).norm(dim=1)
        self.shared |= near <= _ALIKE * self.erased.norm(dim=1)

    def texts(self) -> Texts:
        if bool(self.shared.all()):
            raise ValueError(
                "preserve: expected texts that leave something to erase, got all that is in erase. Take one of the two "
                "out."
            )
        chosen = ~self.shared
        return Texts(self.erased[chosen], self.guides[chosen], self.preserved_gram, self.preserved_count)


def _pairs(erased: Encoding, guide: Encoding, tokens: str) -> list[tuple[int, int]]:
    """The rows to erase, each with the row of the guide that it is paired with, part by part."""
    pairs = []
    for part, guide_part in zip(erased.parts, guide.parts, strict=True):
        words, guide_words = (
            torch.nonzero(e.content[p.start : p.stop]) for e, p in ((erased, part), (guide, guide_part))
        )
        every_token = tokens == "all" or not len(words)
        for place in range(part.stop - part.start) if every_token else [int(words[-1])]:
            same_place = min(place, guide_part.stop - guide_part.start - 1)
            guide_place = int(guide_words[-1]) if tokens == "last" and len(guide_words) else same_place
            pairs.append((part.start + place, guide_part.start + guide_place))
    return pairs
