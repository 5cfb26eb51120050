"""The branches of a dual evaluation as lists of the host's prepared conditioning entries.

The host gives every conditioning an opposite in the others with the same area, so three conditionings in one run would
add entries to a pair of them that a stock run of the pair does not have. Each entry therefore carries the branch that
it came from: a copy that the host made keeps the mark of the entry whose area it answers.
"""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch

Entries = list[dict[str, Any]]

_MARK = "safelight_branch"
_RANGE_KEYS = frozenset({"start_percent", "end_percent", "clip_start_percent", "clip_end_percent"})
_PLACE_KEYS = frozenset({"area", "mask"})


def always_active(entries: Entries) -> bool:
    """Whether an entry, before the host prepared it, has no timestep range."""
    return any(_RANGE_KEYS.isdisjoint(entry) for entry in entries)


def always_everywhere(entries: Entries) -> bool:
    """Whether an entry, before the host prepared it, has neither a timestep range nor an area or mask."""
    return any((_RANGE_KEYS | _PLACE_KEYS).isdisjoint(entry) for entry in entries)


def marked(conds: dict[str, Entries]) -> dict[str, Entries]:
    """`conds` with the mark of its branch on every entry."""
    return {key: [{**entry, _MARK: key} for entry in entries] for key, entries in conds.items()}


def written_pair(conds: dict[str, Entries]) -> tuple[Entries, Entries | None]:
    """The written conditioning and the negative, as a stock run of the two has them."""
    pair = ("positive", "negative")
    return (
        [entry for entry in conds["positive"] if entry.get(_MARK) in pair],
        None if conds.get("negative") is None else [entry for entry in conds["negative"] if entry.get(_MARK) in pair],
    )


def branch(conds: dict[str, Entries], name: str) -> Entries:
    """A further conditioning, as a stock run of it and the negative has it."""
    return [entry for entry in conds[name] if entry.get(_MARK) in (name, "negative")]


def safe_pair(conds: dict[str, Entries]) -> tuple[Entries, Entries | None]:
    """The safe conditioning and the negative, as a stock run of the two has them."""
    safe, negative = [entry for entry in conds["safe"] if entry.get(_MARK) != "positive"], conds.get("negative")
    if negative is None:
        return safe, None
    areas = [entry["area"] for entry in safe if "area" in entry]
    return safe, [entry for entry in negative if entry.get(_MARK) != "positive" or entry.get("area") in areas]


def is_active(entry: dict[str, Any], sigma: Any) -> bool:
    """Whether a prepared entry takes part at the noise level `sigma`, by the host's comparison."""
    return not (
        ("timestep_start" in entry and sigma > entry["timestep_start"])
        or ("timestep_end" in entry and sigma < entry["timestep_end"])
    )


def any_active(entries: Entries, sigma: Any) -> bool:
    return any(is_active(entry, sigma) for entry in entries)


def covered(entries: Entries, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor | None:
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


def choosable(x: torch.Tensor, mask: torch.Tensor | None, *reaches: torch.Tensor | None) -> torch.Tensor | None:
    """The cells that every branch reaches and the artist's mask lets through, [B, 1, ...]; None where that is all.

    mask: as fit_mask gives it. reaches: as covered gives them.
    """
    parts = [part for part in (None if mask is None else mask > 0, *reaches) if part is not None]
    where = torch.ones((x.shape[0], 1, *x.shape[2:]), dtype=torch.bool, device=x.device)
    for part in parts:
        where = where & part[:, :1]
    return where if parts else None


def reaches_beyond(reach: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    """Whether a cell lies in `reach` and not in `other`, both as covered gives them."""
    if other is None:
        return False
    return bool((~other if reach is None else reach & ~other).any())
