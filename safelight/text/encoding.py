"""An encoded text: its states, and what each token position holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

Key = tuple[int, int]  # part, block


@dataclass(frozen=True)
class Part:
    """A range of token positions, and the blocks (start, stop along the width) that its encoders fill.

    Encoders put their states side by side along the width (SDXL: L, then G) or one after another along the tokens (SD3:
    L and G, then T5). Each block gets its own concept space.
    """

    start: int
    stop: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Encoding:
    """An encoded text.

    states: [B, T, W], without token weights; pooled: [B, D] or None.
    content: boolean [T], the words; tail: boolean [T], end tokens and padding. The start token is neither, because in a
        causal encoder it is the same for every prompt.
    chunk: [T], the number of the chunk that a position belongs to; position: [T], its place in that chunk.
    weights: [T], the artist's token weights; words: the word that each of the T tokens belongs to ("" for none).
    """

    states: torch.Tensor
    pooled: torch.Tensor | None
    content: torch.Tensor
    tail: torch.Tensor
    chunk: torch.Tensor
    position: torch.Tensor
    weights: torch.Tensor
    words: tuple[str, ...]
    parts: tuple[Part, ...]

    def blocks(self) -> Iterator[tuple[Key, slice, slice]]:
        """For every block: (part, block), the rows of its tokens, and the columns of its states."""
        for p, part in enumerate(self.parts):
            for b, (start, stop) in enumerate(part.blocks):
                yield (p, b), slice(part.start, part.stop), slice(start, stop)

    def whole_words(self, chosen: torch.Tensor) -> torch.Tensor:
        """Boolean [B, T]: the chosen tokens, and the other tokens of their words."""
        result, start = chosen.clone(), 0
        for stop in range(1, len(self.words) + 1):
            same = (
                stop < len(self.words)
                and self.words[stop] == self.words[start]
                and self.chunk[stop] == self.chunk[start]
            )
            if not same:
                if self.words[start]:
                    result[:, start:stop] = chosen[:, start:stop].any(dim=1, keepdim=True)
                start = stop
        return result

    def check(self, what: str) -> Encoding:
        """Returns itself. Raises ValueError, naming `what`, where a value is not finite."""
        check_finite(what, *([self.states] if self.pooled is None else [self.states, self.pooled]))
        return self


def check_finite(what: str, *tensors: torch.Tensor) -> None:
    """Raises ValueError, naming `what`, where a value that the text encoder gave is not finite."""
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise ValueError(
            f"clip: expected finite states for {what}, got NaN or infinity from the text encoder. Try the encoder in "
            "fp32 or bf16, or remove the LoRA or embedding that causes it."
        )


def meaning(content: torch.Tensor, words: tuple[str, ...], common: frozenset[str]) -> torch.Tensor:
    """Which words are not common ones, boolean [T]. Without any such word, all words are chosen. content: [T]."""
    chosen = content & torch.tensor([word not in common for word in words], dtype=torch.bool)
    return chosen if chosen.any() else content
