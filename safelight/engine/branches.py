"""The branches of a dual evaluation as lists of the host's prepared conditioning entries.

The host gives every conditioning an opposite in the others with the same area, so three conditionings in one run would
add entries to a pair of them that a stock run of the pair does not have. Each entry is therefore tagged
with its branch: a copy that the host made keeps the tag of the entry whose area it was made for.
"""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch

CondEntries = list[dict[str, Any]]
# The conditional and the negative entries of one prediction, as a stock run of the two has them.
CondPair = tuple[CondEntries, CondEntries | None]

TAG = "safelight_branch"
_RANGE_KEYS = frozenset({"start_percent", "end_percent", "clip_start_percent", "clip_end_percent"})
_PLACE_KEYS = frozenset({"area", "mask"})


def always_active(entries: CondEntries) -> bool:
    """Whether an entry, before the host prepared it, has no timestep range."""
    return any(_RANGE_KEYS.isdisjoint(entry) for entry in entries)


def always_everywhere(entries: CondEntries) -> bool:
    """Whether an entry, before the host prepared it, has neither a timestep range nor an area or mask."""
    return any((_RANGE_KEYS | _PLACE_KEYS).isdisjoint(entry) for entry in entries)


def tag_branch(conds: dict[str, CondEntries]) -> dict[str, CondEntries]:
    """`conds` with the name of its branch on every entry."""
    return {key: [{**entry, TAG: key} for entry in entries] for key, entries in conds.items()}


def positive_pair(conds: dict[str, CondEntries]) -> CondPair:
    """The positive conditioning and the negative, as a stock run of the two has them."""
    pair = ("positive", "negative")
    return (
        [entry for entry in conds["positive"] if entry.get(TAG) in pair],
        None if conds.get("negative") is None else [entry for entry in conds["negative"] if entry.get(TAG) in pair],
    )


def branch(conds: dict[str, CondEntries], name: str) -> CondEntries:
    """A further conditioning, as a stock run of it and the negative has it."""
    return [entry for entry in conds[name] if entry.get(TAG) in (name, "negative")]


def safe_pair(conds: dict[str, CondEntries]) -> CondPair:
    """The safe conditioning and the negative, as a stock run of the two has them."""
    safe, negative = [entry for entry in conds["safe"] if entry.get(TAG) != "positive"], conds.get("negative")
    if negative is None:
        return safe, None
    areas = [entry["area"] for entry in safe if "area" in entry]
    return safe, [entry for entry in negative if entry.get(TAG) != "positive" or entry.get("area") in areas]


def with_negative(pair: CondPair, conds: dict[str, CondEntries], name: str) -> CondPair:
    """The pair with a further conditioning in the place of its negative, as a stock run of the two has it."""
    areas = [entry["area"] for entry in pair[0] if "area" in entry]
    return pair[0], [entry for entry in conds[name] if entry.get(TAG) == name or entry.get("area") in areas]


def is_active(entry: dict[str, Any], sigma: torch.Tensor) -> bool:
    """Whether a prepared entry takes part at the noise level `sigma`, by the host's comparison."""
    return not (
        ("timestep_start" in entry and sigma > entry["timestep_start"])
        or ("timestep_end" in entry and sigma < entry["timestep_end"])
    )


def any_active(entries: CondEntries, sigma: torch.Tensor) -> bool:
    return any(is_active(entry, sigma) for entry in entries)


def covered(entries: CondEntries, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor | None:
    """Where the active entries' areas and masks reach, boolean, shaped as x; None where that is everywhere."""
    active = [entry for entry in entries if is_active(entry, sigma[0])]
    if any("default" in entry or _PLACE_KEYS.isdisjoint(entry) for entry in active):
        return None
    reach = torch.zeros_like(x)
    for entry in active:
        part = comfy.samplers.get_area_and_mult(entry, x, sigma)
        cells = reach
        if part.area is not None:
            dims = len(part.area) // 2
            for i in range(dims):
                cells = cells.narrow(i + 2, part.area[i + dims], part.area[i])
        cells += part.mult
    return reach > 0
