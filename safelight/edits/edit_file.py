"""Files of edits: safetensors with the kind of edit and its settings in the metadata.

The metadata's keys are "safelight" (the kind), "version" (of the format) and "settings" (as JSON). Nothing is ever
unpickled.
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
    """An edit as nodes pass it. kind: one of KINDS; tensors: by name; settings: anything that JSON can hold."""

    kind: str
    tensors: dict[str, torch.Tensor]
    settings: dict[str, Any]


def write(path: str | os.PathLike[str], kind: str, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Writes the file. It appears in the folder only when it is whole.

    Raises ValueError for an unknown kind, for tensors with values that are not finite, and for settings that JSON can't
    hold.
    """
    if kind not in KINDS:
        raise ValueError(f"edit: unknown kind {kind!r}. Use one of {', '.join(KINDS)}.")
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _check_finite("edit", stored)
    try:
        settings_json = json.dumps(settings, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"edit: expected settings that JSON can hold, got others ({error}). Leave out what it can't hold."
        ) from error
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        save_file(stored, str(part), metadata={"safelight": kind, "version": VERSION, "settings": settings_json})
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """The kind of edit in the file, from its header alone; None for any other file."""
    try:
        return _metadata(Path(path))["safelight"]
    except (ValueError, KeyError, OSError):
        return None


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and settings of an edit of this kind.

    Raises ValueError, naming the file, where it is not a safetensors file, not an edit, an edit of another kind or
    format version, or holds values that are not finite; FileNotFoundError where there is no such file.
    """
    path = Path(path)
    metadata = _metadata(path)
    file_kind = metadata.get("safelight")
    if file_kind is None:
        raise ValueError(
            f"file: expected an edit of the kind {kind!r}, got {path.name}, which Safelight did not save. Choose "
            "another file."
        )
    if file_kind != kind:
        raise ValueError(
            f"file: expected an edit of the kind {kind!r}, got one of the kind {file_kind!r} in {path.name}. Choose "
            "another file."
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"file: expected format version {VERSION}, got {metadata.get('version')} in {path.name}. Update Safelight, "
            "or make the edit again."
        )
    try:
        settings = json.loads(metadata["settings"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"file: expected settings as JSON, got none that can be read in {path.name}. Make the edit again."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"file: expected settings by name, got a {type(settings).__name__} in {path.name}. Make the edit again."
        )
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a dictionary
    _check_finite("file", tensors, f" of {path.name}")
    return tensors, settings


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FileNotFoundError(
            f"file: expected an edit, got no file {path.name}. Save the edit first, or choose another file."
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"file: expected a whole safetensors file, got {path.name} ({error}). Choose another file."
        ) from error


def _check_finite(input_name: str, tensors: dict[str, torch.Tensor], of_file: str = "") -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(
                f"{input_name}: expected finite values, got NaN or infinity in {name}{of_file}. Make the edit again."
            )
