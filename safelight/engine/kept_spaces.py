"""Concept spaces on disk, in the host's user folder, so that a text encoder is calibrated once and not at every start.

A file belongs to the encoder's weights and kind, the concepts and the phrases, by a fingerprint of all of them. A file
that can't be read is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from safelight.engine.host import folder_paths
from safelight.engine.token_layout import read_tokens
from safelight.text.concept_space import ConceptSpace
from safelight.text.risk import Calibration
from safelight.text.subspace import Metric, Subspace

if TYPE_CHECKING:
    from comfy.sd import CLIP

FORMAT = "1"
_SAMPLE = 64  # numbers of a weight that its print takes, besides the sum of all of them
_LOG = logging.getLogger("Safelight")


def weights_print(clip: CLIP) -> str | None:
    """Of the encoder's weights, all of which are read; None where something that has no print changes them."""
    objects = clip.patcher.object_patches  # newer hosts put the type of numbers there
    if clip.patcher.patches or not all(isinstance(value, torch.dtype | None) for value in objects.values()):
        return None
    digest = hashlib.sha256()
    for name, weight in sorted(clip.cond_stage_model.state_dict().items()):
        flat = weight.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLE)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(flat[::step].float().cpu().numpy().tobytes())
        digest.update(f"{float(flat.float().abs().sum(dtype=torch.float64)):.6g}".encode())
    return digest.hexdigest()


def fingerprint(clip: CLIP, weights: str, *texts: Sequence[str]) -> str:
    """Of the encoder and these texts. weights: what weights_print gives.

    The same weights are encoders of several kinds: CLIP-L and CLIP-G of SDXL and of SD3, T5 with and without padding.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, weights, clip.layer_idx, *map(list, texts)]).encode())
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in (type(clip.cond_stage_model), type(clip.tokenizer))]
    digest.update(repr([*kinds, read_tokens(clip, texts[0][0] if texts and texts[0] else "")]).encode())
    options = getattr(clip, "tokenizer_options", {})
    for settings in (options, clip.patcher.object_patches):
        digest.update(json.dumps(sorted((str(key), str(value)) for key, value in settings.items())).encode())
    return digest.hexdigest()[:24]


def _file(key: str) -> Path | None:
    folder = getattr(folder_paths, "get_user_directory", None)
    return None if folder is None else Path(folder()) / "safelight" / "calibration" / f"{key}.safetensors"


def load(key: str) -> ConceptSpace | None:
    """The space with this fingerprint; None where it is not on disk."""
    file = _file(key)
    if file is None or not file.exists():
        return None
    try:
        with safe_open(str(file), framework="pt") as stored:
            # Copies lie in memory as new tensors do; where they lie otherwise, products differ in their last bits.
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118, it is no dict
            return _space(tensors, json.loads(stored.metadata()["calibration"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("Safelight: %s can't be read (%s), so the text encoder is calibrated again.", file, error)
        return None


def save(key: str, space: ConceptSpace) -> None:
    """Writes the space; where the folder can't be written, says so and goes on."""
    file = _file(key)
    if file is None:
        return
    tensors: dict[str, torch.Tensor] = {}
    for kind, spaces in (("words", space.words), ("tails", space.tails)):
        for (part, block), subspace in spaces.items():
            tensors |= _tensors(f"{kind} {part} {block}", subspace)
    if space.pooled is not None:
        tensors |= _tensors("pooled 0 0", space.pooled)
    for word, centres in space.common.items():
        for (part, block), centre in centres.items():
            tensors[f"common {part} {block} {word}"] = centre
    calibration = json.dumps([[one.slope, one.decision, one.auc] for one in space.calibration])
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, temporary, {"calibration": calibration})
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        _LOG.warning("Safelight: the calibration can't be kept in %s (%s).", file.parent, error)


def _tensors(place: str, subspace: Subspace) -> dict[str, torch.Tensor]:
    parts = {"centre": subspace.centre, "basis": subspace.basis, "direction": subspace.direction}
    parts |= {"directions": subspace.metric.directions, "gains": subspace.metric.gains}
    return {f"{place} {name}": tensor for name, tensor in parts.items()}


def _space(tensors: dict[str, torch.Tensor], calibration: Any) -> ConceptSpace:
    spaces: dict[str, dict[tuple[int, int], dict[str, torch.Tensor]]] = {"words": {}, "tails": {}, "pooled": {}}
    common: dict[str, dict[tuple[int, int], torch.Tensor]] = {}
    for name, tensor in tensors.items():
        kind, part, block, rest = name.split(" ", 3)
        key = int(part), int(block)
        if kind == "common":
            common.setdefault(rest, {})[key] = tensor
        else:
            spaces[kind].setdefault(key, {})[rest] = tensor

    def subspaces(kind: str) -> dict[tuple[int, int], Subspace]:
        return {
            key: Subspace(each["centre"], each["basis"], each["direction"], Metric(each["directions"], each["gains"]))
            for key, each in spaces[kind].items()
        }

    pooled = subspaces("pooled").get((0, 0))
    return ConceptSpace(
        subspaces("words"), subspaces("tails"), pooled, common, tuple(Calibration(*one) for one in calibration)
    )
