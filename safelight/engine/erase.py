"""Erases concepts from a model in closed form (UCE, RECE), by patches of the host: the checkpoint stays as it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils
import torch

from safelight.checks import check_numbers, check_texts, strength_number
from safelight.edits import rece, uce
from safelight.edits.edit_file import Edit
from safelight.edits.uce import StateMap
from safelight.engine import edit_files, edit_targets, host
from safelight.engine.edit_targets import READERS, described_widths, targets_of
from safelight.engine.edit_texts import TOKENS, Texts, read_texts
from safelight.engine.encoder import check_clip, everyday_phrases
from safelight.text.anchors import everyday
from safelight.text.concepts import split_concepts

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from comfy.sd import CLIP

log = logging.getLogger("safelight")

KIND = "erase"
RIDGE = 0.01  # of the derived states, as a share of the mean diagonal of the sum of W^T W


def make_edit(
    model: ModelPatcher,
    clip: CLIP,
    erase: str,
    instead: str,
    preserve: str,
    tokens: str,
    epochs: int,
    preserve_weight: float,
    lamb: float,
) -> Edit:
    """The edit as a file holds it. The model is only read. Raises ValueError, naming the input."""
    check_clip(clip)
    check_texts(erase=erase, instead=instead, preserve=preserve)
    check_numbers(epochs=epochs, preserve_weight=preserve_weight, lamb=lamb)
    concepts = split_concepts(erase)
    if not concepts:
        raise ValueError(
            "erase: expected concepts, got an empty text. Name what to erase, separated by commas or one per line."
        )
    if tokens not in TOKENS:
        raise ValueError(f"tokens: expected one of {', '.join(TOKENS)}, got {tokens!r}. Choose one of them.")
    if preserve_weight < 0.0:
        raise ValueError(f"preserve_weight: expected a number from 0 up, got {preserve_weight}. Give such a number.")
    if lamb <= 0.0:
        raise ValueError(f"lamb: expected a number above 0, got {lamb}. Give such a number.")
    targets = targets_of(model)
    started = time.perf_counter()
    preserved = [line.strip() for line in preserve.splitlines() if line.strip()]
    preserved = preserved or everyday_phrases(clip, everyday(concepts))
    readers = [reader for reader in READERS if reader in targets.keys]
    bar = comfy.utils.ProgressBar(1 + len(concepts) + len(preserved) + len(readers) * (1 + epochs))

    def on_progress() -> None:
        bar.update(1)
        comfy.model_management.throw_exception_if_processing_interrupted()

    texts_by_reader = read_texts(clip, readers, concepts, instead, preserved, tokens, on_progress)
    widths = {reader: texts.erased.shape[1] for reader, texts in texts_by_reader.items()}
    keys = targets.fitting(widths)
    if not all(keys.values()):
        raise ValueError(
            f"clip: expected a text encoder for {targets.described()}, got one with "
            f"{described_widths({reader: [width] for reader, width in widths.items()})}. Link the model's own text "
            "encoder."
        )
    maps = {}
    for reader, texts in texts_by_reader.items():
        maps[reader] = _solve(model, texts, keys[reader], epochs, preserve_weight, lamb, on_progress).compact()
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
    model: ModelPatcher,
    texts: Texts,
    keys: list[str],
    epochs: int,
    preserve_weight: float,
    lamb: float,
    on_progress: Callable[[], None],
) -> StateMap:
    """UCE, and RECE's rounds after it, for one reader.

    The weights are those of the papers in another measure, so that they mean the same for every encoder and every list:
    lamb is a share of the erased states' mean squared norm, preserve_weight that of all preserved states together.
    """
    lamb *= float(texts.erased.square().sum(dim=1).mean())
    share = preserve_weight * len(texts.erased) / max(texts.preserved_count, 1)
    state_map = uce.closed_form(texts.erased, texts.guides, texts.preserved_gram, lamb, preserve=share)
    on_progress()
    if epochs:
        total = torch.zeros_like(texts.preserved_gram)
        for _, weight in host.patched_weights(model, keys):
            total += weight.T @ weight
        ridge = RIDGE * float(total.diagonal().mean())
        state_map = rece.erase_again(
            state_map,
            texts.erased,
            texts.guides,
            texts.preserved_gram,
            total,
            epochs,
            lamb,
            ridge,
            preserve=share,
            on_progress=on_progress,
        )
    return state_map


def apply_edit(model: ModelPatcher, edit: Edit, strength: float, file: str | None = None) -> ModelPatcher:
    """A clone of the model with the edit; at strength 0 the model itself. file: where the edit is from, for errors."""
    if strength_number(strength, edit_files.MAX_STRENGTH) == 0.0:
        return model
    source, got = ("edit", "one") if file is None else ("file", file)
    targets, maps = targets_of(model), _maps(edit.tensors)
    if maps is None:
        raise ValueError(
            f"{source}: expected an edit that erases, got {got} with the tensors "
            f"{', '.join(sorted(edit.tensors)) or '(none)'}. Make it again with Safelight Erase."
        )
    family, widths = edit.settings.get("family"), {reader: each.width for reader, each in maps.items()}
    keys = targets.fitting(widths)
    if family != targets.family or widths.keys() != targets.keys.keys() or not all(keys.values()):
        raise ValueError(
            f"{source}: expected an edit for {targets.described()}, got {got} for a {family} model for "
            f"{described_widths({reader: [width] for reader, width in widths.items()})}. Choose an edit that was made "
            "for this kind of model and text encoder."
        )
    return edit_targets.edited(model, keys, maps, strength)


def _tensors(maps: dict[str, StateMap]) -> dict[str, torch.Tensor]:
    """The maps as a file holds them: `text.up` and `text.down`, or `text.map` alone where that is smaller."""
    tensors = {}
    for reader, each in maps.items():
        if each.down is None:
            tensors[f"{reader}.map"] = each.up
        else:
            tensors[f"{reader}.up"], tensors[f"{reader}.down"] = each.up, each.down
    return tensors


def _maps(tensors: dict[str, torch.Tensor]) -> dict[str, StateMap] | None:
    """The maps that `_tensors` made these of; None for other tensors."""
    maps = {}
    for reader in READERS:
        whole, up, down = (tensors.get(f"{reader}.{part}") for part in ("map", "up", "down"))
        if whole is not None and whole.ndim == 2 and whole.shape[0] == whole.shape[1]:
            maps[reader] = StateMap(whole, None)
        elif up is not None and down is not None and up.ndim == down.ndim == 2 and up.shape == down.T.shape:
            maps[reader] = StateMap(up, down)
    complete = sum(1 if each.down is None else 2 for each in maps.values()) == len(tensors) and "text" in maps
    return maps if complete else None
