"""Ring-A-Bell's concept vector (Tsai et al., arXiv 2310.10012): what a concept adds to a text's states, by position.

v is the mean of h(unsafe) - h(safe) over pairs of prompts, where h is all states of a chunk, from the start token to
the end of the padding. The paper adds v to a prompt's states as the target of an attack; here it is subtracted from
them as a defence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from safelight.text.encoding import Encoding, Part
from safelight.text.subtract import subtract

Blocks = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ConceptVector:
    """A concept vector for every position of a chunk.

    rows: by part, [P, W] float32, 0 at positions that no pair reached. blocks: by part, the columns of its encoders.
    pooled: [D] or None.
    """

    rows: tuple[torch.Tensor, ...]
    blocks: tuple[Blocks, ...]
    pooled: torch.Tensor | None

    @property
    def form(self) -> str:
        """The layout of its text encoder in words, see form_of."""
        return _words([(self.blocks[p], rows.shape[1]) for p, rows in enumerate(self.rows)])

    # -- as a file ----------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, torch.Tensor]:
        tensors = {}
        for p, rows in enumerate(self.rows):
            tensors[f"states.{p}"] = rows
            tensors[f"blocks.{p}"] = torch.tensor(self.blocks[p], dtype=torch.long)
        return tensors if self.pooled is None else {**tensors, "pooled": self.pooled}

    @classmethod
    def of_tensors(cls, tensors: dict[str, torch.Tensor]) -> ConceptVector:
        """The vector that `tensors` gave. Raises ValueError for other tensors."""
        count = sum(name.startswith("states.") for name in tensors)
        try:
            rows = tuple(tensors[f"states.{p}"].float() for p in range(count))
            blocks = tuple(tuple((int(a), int(b)) for a, b in tensors[f"blocks.{p}"]) for p in range(count))
        except (KeyError, TypeError, ValueError):
            count = 0
        pooled = tensors.get("pooled")
        if not count or any(r.ndim != 2 or not len(r) for r in rows) or (pooled is not None and pooled.ndim != 1):
            raise ValueError(
                "vector: expected states by position, got other tensors. Make it with Safelight Concept Vector."
            )
        if not all(torch.isfinite(t).all() for t in (*rows, *([] if pooled is None else [pooled]))):
            raise ValueError("vector: expected finite values, got NaN or infinity. Make it again.")
        return cls(rows, blocks, None if pooled is None else pooled.float())

    # -- use ----------------------------------------------------------------------------------------------------------

    def check(self, encoding: Encoding) -> ConceptVector:
        """Returns itself. Raises ValueError, naming both, where the encoding comes from another text encoder."""
        form = form_of(encoding)
        if form != self.form:
            raise ValueError(
                f"vector: expected one made with this prompt's text encoder of {form}, got one made with a text "
                f"encoder of {self.form}. Make or load a vector of this text encoder."
            )
        if self.pooled is not None and encoding.pooled is not None:
            width, expected = self.pooled.shape[-1], encoding.pooled.shape[-1]
            if width != expected:
                raise ValueError(
                    f"vector: expected a pooled output {expected} wide, as this text encoder's, got one {width} wide. "
                    "Make or load a vector of this text encoder."
                )
        return self

    def at(self, encoding: Encoding) -> torch.Tensor:
        """v at every position of the encoding, by its place in its chunk: [T, W], 0 in columns that no block covers.

        A place beyond the last row of v takes the last row (T5 has no longest text).
        """
        self.check(encoding)
        result = torch.zeros(encoding.states.shape[-2:])
        for part, rows in zip(encoding.parts, self.rows, strict=True):
            places = encoding.position[part.start : part.stop].clamp_max(len(rows) - 1)
            result[part.start : part.stop] = rows[places]
        return result

    def subtract(
        self, encoding: Encoding, states: torch.Tensor, pooled: torch.Tensor | None, strength: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A prompt's states [B, T, W] and pooled output less `strength` times v. A token's weight scales the step.

        encoding: the same prompt without token weights. At strength 0 it returns the given tensors themselves. The
        start token stays, because in a causal encoder v is 0 there.
        """
        rows = self.at(encoding)
        if strength == 0:
            return states, pooled
        chosen = (encoding.content | encoding.tail).to(states.device)
        amount = (strength * encoding.weights).to(states.device)
        moved = subtract(states, rows.to(states.device), chosen, amount)
        if pooled is not None and self.pooled is not None:
            pooled = (pooled.float() - strength * self.pooled.to(pooled.device)).to(pooled.dtype)
        return moved, pooled


def form_of(encoding: Encoding) -> str:
    """A text encoder's layout in words: the widths of its blocks, side by side and one after another."""
    return _words([(part.blocks, encoding.states.shape[-1]) for part in encoding.parts])


def _words(parts: Sequence[tuple[Blocks, int]]) -> str:
    widths = [" + ".join(str(stop - start) for start, stop in blocks) for blocks, _ in parts]
    return f"{', then '.join(widths)} columns ({parts[0][1] if parts else 0} wide)"


def concept_vector(pairs: Sequence[tuple[Encoding, Encoding]]) -> ConceptVector:
    """The mean of h(unsafe) - h(safe) over pairs of (unsafe, safe), each [1, T, W].

    Where chunks differ in length, a position is the mean over the pairs in which both prompts reach it.
    Raises ValueError, naming the line, where a prompt is longer than a chunk or the two have different layouts.
    """
    if not pairs:
        raise ValueError(
            "unsafe_prompts: expected prompts, got none. Write one per line, and its safe twin in safe_prompts."
        )
    first = pairs[0][0]
    totals = [torch.zeros(0, first.states.shape[-1]) for _ in first.parts]
    counts = [torch.zeros(0) for _ in first.parts]
    pooled = []
    for number, (unsafe, safe) in enumerate(pairs, 1):
        for encoding, name in ((unsafe, "unsafe_prompts"), (safe, "safe_prompts")):
            if form_of(encoding) != form_of(first):
                raise ValueError(
                    f"clip: expected the layout of line 1 ({form_of(first)}) for every prompt, got {form_of(encoding)} "
                    f"for line {number} of {name}. Remove that line."
                )
            for part in encoding.parts:
                _check_places(encoding, part, name, number)
        for p in range(len(first.parts)):
            a, b = (_by_place(encoding, encoding.parts[p]) for encoding in (unsafe, safe))
            both = min(len(a[0]), len(b[0]))
            reached = (a[1][:both] & b[1][:both]).float()
            more = both - len(counts[p])
            if more > 0:
                totals[p] = torch.cat([totals[p], torch.zeros(more, totals[p].shape[1])])
                counts[p] = torch.cat([counts[p], torch.zeros(more)])
            totals[p][:both] += (a[0][:both] - b[0][:both]) * reached[:, None]
            counts[p][:both] += reached
        if unsafe.pooled is not None and safe.pooled is not None:
            pooled.append((unsafe.pooled[0] - safe.pooled[0]).float().cpu())
    rows = tuple(t / c.clamp_min(1)[:, None] for t, c in zip(totals, counts, strict=True))
    if not all(torch.isfinite(r).all() for r in rows):
        raise ValueError("clip: expected finite states, got NaN or infinity. Try the encoder in fp32 or bf16.")
    if max(float(r.abs().max()) for r in rows) == 0:
        raise ValueError(
            "unsafe_prompts: expected prompts that the text encoder can tell from safe_prompts, got the same states "
            "for both. Write pairs that differ in what is unsafe."
        )
    blocks = tuple(part.blocks for part in first.parts)
    return ConceptVector(rows, blocks, torch.stack(pooled).mean(dim=0) if pooled else None)


def _check_places(encoding: Encoding, part: Part, name: str, line: int) -> None:
    """Raises ValueError where a prompt is longer than a chunk, or where the positions of its tokens are not known."""
    chunks = encoding.chunk[part.start : part.stop]
    if (chunks != chunks[0]).any():
        raise ValueError(
            f"{name}: expected at most {int((chunks == chunks[0]).sum())} tokens in a line, as the text encoder takes "
            f"at once, got more in line {line}. Shorten it."
        )
    places = encoding.position[part.start : part.stop]
    if len(places.unique()) != len(places):
        raise ValueError(
            "clip: expected states at known token positions, got unknown positions from this text encoder, so there is "
            "no vector by position. Link another text encoder."
        )


def _by_place(encoding: Encoding, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """The states [P, W] by place in the chunk, and which places exist, [P]; float32, on the CPU."""
    places = encoding.position[part.start : part.stop]
    length = int(places.max()) + 1
    states = torch.zeros(length, encoding.states.shape[-1])
    states[places] = encoding.states[0, part.start : part.stop].float().cpu()
    reached = torch.zeros(length, dtype=torch.bool)
    reached[places] = True
    return states, reached
