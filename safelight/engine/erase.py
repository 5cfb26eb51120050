"""Erasing concepts from a model in closed form (UCE, RECE), as patches of the host: the checkpoint stays as it is."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import comfy.model_management
import comfy.utils
import torch

from safelight.checks import strength_number
from safelight.edits import rece, uce
from safelight.edits.edit_file import Edit
from safelight.edits.uce import StateMap
from safelight.engine import edit_files, edit_targets, host
from safelight.engine.concept_spaces import anchor_phrases
from safelight.engine.edit_targets import READERS, Targets, targets_of
from safelight.engine.edit_texts import TOKENS, Texts, read_texts
from safelight.engine.encoder import check_clip
from safelight.text.concepts import split_concepts

log = logging.getLogger("safelight")

KIND = "erase"
RIDGE = 0.01  # of the derived states, as a share of the mean diagonal of the sum of W^T W


def make_edit(
    model: Any,
    clip: Any,
    erase: str,
    instead: str,
    preserve: str,
    tokens: str,
    epochs: int,
    preserve_weight: float,
    lamb: float,
) -> Edit:
    """The edit as a file holds it; the model is read, not changed. Raises ValueError, naming the input."""
    check_clip(clip)
    concepts = split_concepts(erase)
    if not concepts:
        raise ValueError("erase: it is empty; name what to erase, separated by commas or one a line.")
    if tokens not in TOKENS:
        raise ValueError(f"tokens: {tokens!r} is no such choice; use one of {', '.join(TOKENS)}.")
    if not math.isfinite(preserve_weight) or preserve_weight < 0.0:
        raise ValueError(f"preserve_weight: it is {preserve_weight}; it must be a number from 0 up.")
    if not math.isfinite(lamb) or lamb <= 0.0:
        raise ValueError(f"lamb: it is {lamb}; it must be a number above 0.")
    targets = targets_of(model)
    started = time.perf_counter()
    kept = [line.strip() for line in preserve.splitlines() if line.strip()] or anchor_phrases(clip, concepts)[0]
    readers = [reader for reader in READERS if reader in targets.keys]
    bar = comfy.utils.ProgressBar(1 + len(concepts) + len(kept) + len(readers) * (1 + epochs))

    def told() -> None:
        bar.update(1)
        comfy.model_management.throw_exception_if_processing_interrupted()

    texts = read_texts(clip, readers, concepts, instead, kept, tokens, told)
    fitting = _fitting(targets, {reader: found.erased.shape[1] for reader, found in texts.items()}, "clip: its texts")
    maps = {}
    for reader, found in texts.items():
        maps[reader] = _solve(model, found, fitting[reader], epochs, preserve_weight, lamb, told).compact()
    settings = {
        "method": "RECE" if epochs else "UCE",
        "family": targets.family,
        "erase": concepts,
        "instead": instead,
        "preserve": preserve,
        "tokens": tokens,
        "epochs": epochs,
        "preserve_weight": preserve_weight,
        "lamb": lamb,
    }
    log.info("Safelight: %d concepts erased in %.1f s.", len(concepts), time.perf_counter() - started)
    return Edit(KIND, _tensors(maps), settings)


def _solve(
    model: Any, texts: Texts, keys: list[str], epochs: int, preserve_weight: float, lamb: float, told: Any
) -> StateMap:
    """UCE, and RECE's rounds after it, for one reader.

    The weights are those of the papers in another measure: lamb as a share of the erased states' mean squared norm,
    preserve_weight of all preserved states together, so that they mean the same for every encoder and every list.
    """
    lamb *= float(texts.erased.square().sum(dim=1).mean())
    share = preserve_weight * len(texts.erased) / max(texts.count, 1)
    found = uce.closed_form(texts.erased, texts.guides, texts.kept, lamb, preserve=share)
    told()
    if epochs:
        total = torch.zeros_like(texts.kept)
        for _, weight in host.patched_weights(model, keys):
            total += weight.T @ weight
        ridge = RIDGE * float(total.diagonal().mean())
        found = rece.erase_again(
            found, texts.erased, texts.guides, texts.kept, total, epochs, lamb, ridge, preserve=share, on_progress=told
        )
    return found


def apply_edit(model: Any, edit: Edit, strength: float, name: str = "edit: it") -> Any:
    """A clone of the model with the edit; the very model at strength 0. name: how errors speak of the edit."""
    if strength_number(strength, edit_files.MAX_STRENGTH) == 0.0:
        return model
    targets, maps = targets_of(model), _maps(edit.tensors, name)
    family, wide = edit.settings.get("family"), {reader: found.width for reader, found in maps.items()}
    what = f"{name} is for a {family} model and"
    if family != targets.family or wide.keys() != targets.keys.keys():
        raise ValueError(f"{what} texts {wide.get('text')} wide; this model is {targets.described()}.")
    return edit_targets.edited(model, _fitting(targets, wide, f"{what} its texts"), maps, strength)


def _fitting(targets: Targets, widths: dict[str, int], what: str) -> dict[str, list[str]]:
    """Keys by reader. Raises ValueError where a reader reads nothing of this width."""
    fitting = targets.fitting(widths)
    for reader, keys in fitting.items():
        if not keys:
            raise ValueError(
                f"{what} are {widths[reader]} wide ({reader}); this model is {targets.described()}. Link the model's "
                "own text encoder, or an edit made with it."
            )
    return fitting


def _tensors(maps: dict[str, StateMap]) -> dict[str, torch.Tensor]:
    """As a file holds them: `text.up` and `text.down`, or `text.map` alone where that is smaller."""
    tensors = {}
    for reader, found in maps.items():
        if found.down is None:
            tensors[f"{reader}.map"] = found.up
        else:
            tensors[f"{reader}.up"], tensors[f"{reader}.down"] = found.up, found.down
    return tensors


def _maps(tensors: dict[str, torch.Tensor], name: str) -> dict[str, StateMap]:
    """What `_tensors` was given. Raises ValueError for other tensors."""
    maps = {}
    for reader in READERS:
        whole, up, down = (tensors.get(f"{reader}.{name}") for name in ("map", "up", "down"))
        if whole is not None and whole.ndim == 2 and whole.shape[0] == whole.shape[1]:
            maps[reader] = StateMap(whole, None)
        elif up is not None and down is not None and up.ndim == down.ndim == 2 and up.shape == down.T.shape:
            maps[reader] = StateMap(up, down)
    if sum(1 if found.down is None else 2 for found in maps.values()) != len(tensors) or "text" not in maps:
        raise ValueError(f"{name} holds no erasing edit ({', '.join(sorted(tensors)) or 'nothing'}).")
    return maps
