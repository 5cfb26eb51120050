"""Which token of a safe text stands where a token of the prompt stood."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher


def aligned(tokens: Sequence[Hashable], others: Sequence[Hashable]) -> list[int | None]:
    """For every one of `tokens` the place of its counterpart in `others`; None where it was left out.

    What both texts have points to itself. Of n tokens that were replaced by m, each has an equal share of the m and
    points to the last of it, as a causal encoder gathers a phrase in its last token.
    """
    places: list[int | None] = [None] * len(tokens)
    for kind, start, stop, first, last in SequenceMatcher(None, tokens, others, autojunk=False).get_opcodes():
        if kind in ("equal", "replace"):
            count, put = stop - start, last - first
            places[start:stop] = [first - (-(i + 1) * put // count) - 1 for i in range(count)]
    return places
