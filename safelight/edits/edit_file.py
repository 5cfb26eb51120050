"""Files of edits: safetensors with what kind of edit it is, and its settings, in the metadata.

Metadata: "safelight" the kind, "version" of the form, "settings" as JSON. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

KINDS = ("erase", "redaction", "adapter", "concept vector")
VERSION = "1"


@dataclass(frozen=True)
class Edit:
    """An edit as it goes from node to node. kind: one of KINDS; tensors by name; settings: what JSON can hold."""

    kind: str
    tensors: dict[str, torch.Tensor]
    settings: dict[str, Any]


def write(path: str | os.PathLike[str], kind: str, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Writes the file in one go: who lists the folder meanwhile sees no half of it.

    Raises ValueError for an unknown kind, tensors that hold values that are not finite, or settings that JSON can't
    hold.
    """
    if kind not in KINDS:
        raise ValueError(f"edit: {kind!r} is no kind of edit; use one of {', '.join(KINDS)}.")
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _check_finite("edit", kept)
    try:
        told = json.dumps(settings, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"edit: its settings can't be written as JSON ({error}).") from error
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        save_file(kept, str(part), metadata={"safelight": kind, "version": VERSION, "settings": told})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """The kind of edit that the file says it holds, from its header alone; None for any other file."""
    try:
        return _metadata(Path(path))["safelight"]
    except (ValueError, KeyError, OSError):
        return None


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and settings of an edit of this kind.

    Raises ValueError, naming the file, for a file that is no safetensors, no edit, an edit of another kind or of a
    later form, or one that holds values that are not finite; FileNotFoundError where there is none.
    """
    path = Path(path)
    metadata = _metadata(path)
    found = metadata.get("safelight")
    if found is None:
        raise ValueError(f"file: {path.name} is no edit of Safelight's; a file of the kind {kind!r} is needed here.")
    if found != kind:
        raise ValueError(f"file: {path.name} is of the kind {found!r}; a file of the kind {kind!r} is needed here.")
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"file: {path.name} has the form {metadata.get('version')}, this Safelight reads form {VERSION}; update "
            "Safelight, or make the edit again."
        )
    try:
        settings = json.loads(metadata["settings"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"file: {path.name} holds settings that can't be read; make the edit again.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"file: {path.name} holds settings that are no table; make the edit again.")
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  it is no dictionary
    _check_finite(f"file: {path.name}", tensors)
    return tensors, settings


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(f"file: there is no {path.name}; save the edit first, or choose another file.")
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"file: {path.name} is no whole safetensors file ({error}); choose another.") from error


def _check_finite(what: str, tensors: dict[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{what}: {name} holds values that are not numbers; make the edit again.")
