"""Calibrations on disk, in the host's user folder, so that a model or a text encoder is calibrated once.

A file belongs to the weights, and to all else that the calibration came from, by a fingerprint. A file that can't be
read is made again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from safelight.engine.host import folder_paths

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_SAMPLE = 64  # numbers of a weight that its print takes
_LOG = logging.getLogger("Safelight")

Calibration = TypeVar("Calibration")


def weights_print(patcher: ModelPatcher, module: torch.nn.Module, *, whole: bool = True) -> str | None:
    """Of the module's weights; None where something that has no print changes them.

    whole: also the sum of each weight, for a word's row in a table of thousands; all weights are read for it.
    """
    objects = patcher.object_patches  # newer hosts put the type of numbers there
    if patcher.patches or not all(isinstance(value, torch.dtype | None) for value in objects.values()):
        return None
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        flat = weight.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLE)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(flat[::step].float().cpu().numpy().tobytes())
        if whole:
            digest.update(f"{float(flat.float().abs().sum(dtype=torch.float64)):.6g}".encode())
    return digest.hexdigest()


def file_of(key: str) -> Path | None:
    folder = getattr(folder_paths, "get_user_directory", None)
    return None if folder is None else Path(folder()) / "safelight" / "calibration" / f"{key}.safetensors"


def read(key: str, build: Callable[[dict[str, torch.Tensor], Mapping[str, str]], Calibration]) -> Calibration | None:
    """What `build` makes of the tensors and the metadata with this fingerprint; None where they are not on disk."""
    file = file_of(key)
    if file is None or not file.exists():
        return None
    try:
        with safe_open(str(file), framework="pt") as stored:
            # Copies lie in memory as new tensors do; where they lie otherwise, products differ in their last bits.
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118, it is no dict
            return build(tensors, stored.metadata())
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("Safelight: %s can't be read (%s), so the calibration is made again.", file, error)
        return None


def write(key: str, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Where the folder can't be written, says so and goes on."""
    file = file_of(key)
    if file is None:
        return
    temporary = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: each.contiguous().clone() for name, each in tensors.items()}, temporary, metadata)
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        _LOG.warning("Safelight: the calibration can't be kept in %s (%s).", file.parent, error)
