"""Concept spaces on disk, so that a text encoder is calibrated once and not at every start (calibration_files.py).

A file belongs to the encoder's weights and kind, the concepts and the phrases, by a fingerprint of all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from safelight.engine import calibration_files
from safelight.engine.token_layout import read_tokens
from safelight.text.concept_space import ConceptSpace
from safelight.text.risk import Calibration
from safelight.text.subspace import Metric, Subspace

if TYPE_CHECKING:
    from comfy.sd import CLIP

FORMAT = "1"


def weights_print(clip: CLIP) -> str | None:
    """Of the encoder's weights, all of which are read; None where something that has no print changes them."""
    return calibration_files.weights_print(clip.patcher, clip.cond_stage_model)


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


def load(key: str) -> ConceptSpace | None:
    """The space with this fingerprint; None where it is not on disk."""
    return calibration_files.read(key, _space)


def save(key: str, space: ConceptSpace) -> None:
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
    calibration_files.write(key, tensors, {"calibration": calibration})


def _tensors(place: str, subspace: Subspace) -> dict[str, torch.Tensor]:
    parts = {"centre": subspace.centre, "basis": subspace.basis, "direction": subspace.direction}
    parts |= {"directions": subspace.metric.directions, "gains": subspace.metric.gains}
    return {f"{place} {name}": tensor for name, tensor in parts.items()}


def _space(tensors: dict[str, torch.Tensor], metadata: Mapping[str, str]) -> ConceptSpace:
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
    calibration = tuple(Calibration(*one) for one in json.loads(metadata["calibration"]))
    return ConceptSpace(subspaces("words"), subspaces("tails"), pooled, common, calibration)
