"""Ring-A-Bell's concept vector (Tsai et al., arXiv 2310.10012): what a concept adds to a text's states, by position.

v = mean over pairs of prompts of h(unsafe) - h(safe), with h all states of a chunk, from the start token to the end of
the padding. The paper adds it to a prompt's states, as the target of an attack; taken away from them it is a defence.
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
    """rows: by part of the states, [P, W] float32, one for every position in a chunk; a position that no pair reached
    is 0. blocks: by part, the columns of its encoders. pooled: [D] or None."""

    rows: tuple[torch.Tensor, ...]
    blocks: tuple[Blocks, ...]
    pooled: torch.Tensor | None

    @property
    def form(self) -> str:
        """Its encoder's layout in words, as `form_of` has it."""
        return _words([(self.blocks[p], rows.shape[1]) for p, rows in enumerate(self.rows)])

    # -- as a file ----------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, torch.Tensor]:
        found = {}
        for p, rows in enumerate(self.rows):
            found[f"states.{p}"] = rows
            found[f"blocks.{p}"] = torch.tensor(self.blocks[p], dtype=torch.long)
        return found if self.pooled is None else {**found, "pooled": self.pooled}

    @classmethod
    def of_tensors(cls, tensors: dict[str, torch.Tensor]) -> ConceptVector:
        """Raises ValueError where they are not those of a concept vector."""
        count = sum(name.startswith("states.") for name in tensors)
        try:
            rows = tuple(tensors[f"states.{p}"].float() for p in range(count))
            blocks = tuple(tuple((int(a), int(b)) for a, b in tensors[f"blocks.{p}"]) for p in range(count))
        except (KeyError, TypeError, ValueError):
            count = 0
        pooled = tensors.get("pooled")
        if not count or any(r.ndim != 2 for r in rows) or (pooled is not None and pooled.ndim != 1):
            raise ValueError("vector: it holds no states by position; make it with Safelight Concept Vector.")
        if not all(torch.isfinite(t).all() for t in (*rows, *([] if pooled is None else [pooled]))):
            raise ValueError("vector: it holds values that are not numbers; make it again.")
        return cls(rows, blocks, None if pooled is None else pooled.float())

    # -- use ----------------------------------------------------------------------------------------------------------

    def check(self, encoding: Encoding) -> ConceptVector:
        """Itself; a ValueError that names both where the encoding is another text encoder's."""
        theirs = form_of(encoding)
        if theirs != self.form:
            raise ValueError(
                f"vector: it was made with a text encoder of {self.form}, and this prompt's has {theirs}. Make or load "
                "a vector of this text encoder."
            )
        if self.pooled is not None and encoding.pooled is not None:
            own, other = self.pooled.shape[-1], encoding.pooled.shape[-1]
            if own != other:
                raise ValueError(
                    f"vector: its pooled output is {own} wide, and this text encoder's {other}. Make or load a vector "
                    "of this text encoder."
                )
        return self

    def at(self, encoding: Encoding) -> torch.Tensor:
        """[T, W]: v at every position of the encoding, by its place in its chunk; 0 in columns that no block covers.

        A place behind the last one that v knows (T5 has no longest text) has that one's row.
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
        """A prompt's states [B, T, W] and pooled output less `strength` times v; a token's weight scales it.

        encoding: the same prompt without token weights. At strength 0 the very tensors that were given. The start token
        stays: in a causal encoder v is 0 there.
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
    """An encoder's layout in words: the widths of its blocks, side by side and one after another."""
    return _words([(part.blocks, encoding.states.shape[-1]) for part in encoding.parts])


def _words(parts: Sequence[tuple[Blocks, int]]) -> str:
    widths = [" + ".join(str(stop - start) for start, stop in blocks) for blocks, _ in parts]
    return f"{', then '.join(widths)} columns ({parts[0][1] if parts else 0} wide)"


def concept_vector(pairs: Sequence[tuple[Encoding, Encoding]]) -> ConceptVector:
    """The mean of h(unsafe) - h(safe) over pairs of (unsafe, safe), each [1, T, W].

    Where a text encoder's chunks differ in length, a position counts the pairs in which both prompts reach it.
    Raises ValueError, naming the pair, where a prompt is longer than a chunk or the two have different layouts.
    """
    if not pairs:
        raise ValueError("unsafe_prompts: there is no prompt; write one a line, and its safe twin in safe_prompts.")
    first = pairs[0][0]
    totals = [torch.zeros(0, first.states.shape[-1]) for _ in first.parts]
    counts = [torch.zeros(0) for _ in first.parts]
    pooled = []
    for number, (unsafe, safe) in enumerate(pairs, 1):
        for encoding, name in ((unsafe, "unsafe_prompts"), (safe, "safe_prompts")):
            if form_of(encoding) != form_of(first):
                raise ValueError(f"clip: it gives line {number} of {name} another form than the first one.")
            for part in encoding.parts:
                _check_places(encoding, part, f"{name}: line {number}")
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
        raise ValueError("clip: the vector is not finite; try the text encoder in fp32 or bf16.")
    if max(float(r.abs().max()) for r in rows) == 0:
        raise ValueError(
            "unsafe_prompts: the text encoder tells them from safe_prompts nowhere; write pairs that differ in what is "
            "unsafe."
        )
    blocks = tuple(part.blocks for part in first.parts)
    return ConceptVector(rows, blocks, torch.stack(pooled).mean(dim=0) if pooled else None)


def _check_places(encoding: Encoding, part: Part, line: str) -> None:
    chunks = encoding.chunk[part.start : part.stop]
    if (chunks != chunks[0]).any():
        raise ValueError(
            f"{line} is longer than the {int((chunks == chunks[0]).sum())} tokens that the text encoder takes at once; "
            "shorten it."
        )
    places = encoding.position[part.start : part.stop]
    if len(places.unique()) != len(places):
        raise ValueError(
            "clip: where this text encoder's tokens lie in its states is not known, so there is no vector by position."
        )


def _by_place(encoding: Encoding, part: Part) -> tuple[torch.Tensor, torch.Tensor]:
    """States [P, W] by place in the chunk, and which places there are [P]; float32, on the CPU."""
    places = encoding.position[part.start : part.stop]
    length = int(places.max()) + 1
    states = torch.zeros(length, encoding.states.shape[-1])
    states[places] = encoding.states[0, part.start : part.stop].float().cpu()
    reached = torch.zeros(length, dtype=torch.bool)
    reached[places] = True
    return states, reached
