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

KINDS = ("erase", "redaction", "adapter", "concept vector", "latent guard")
VERSION = "1"
# The largest number in an edit: half precision, in which hosts compute, holds no larger one.
LARGEST = torch.finfo(torch.float16).max
# Tables of whole numbers, by kind, as their names begin. All other tensors are weights.
_TABLES = {"concept vector": "blocks."}


@dataclass(frozen=True)
class Edit:
    """An edit as nodes pass it. kind: one of KINDS; tensors: by name; settings: anything that JSON can hold."""

    kind: str
    tensors: dict[str, torch.Tensor]
    settings: dict[str, Any]


def write(path: str | os.PathLike[str], kind: str, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> None:
    """Writes the file. It appears in the folder only when it is whole.

    Raises ValueError for an unknown kind, for tensors of other numbers than `read` takes, and for settings that JSON
    can't hold.
    """
    if kind not in KINDS:
        raise ValueError(f"edit: unknown kind {kind!r}. Use one of {', '.join(KINDS)}.")
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _numbers("edit", kind, stored)
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
    """The tensors and settings of an edit of this kind; weights in float32, whatever the file has them in.

    Raises ValueError, naming the file, where it is not a safetensors file, not an edit, an edit of another kind or
    format version, or holds numbers that are no weights (not real, or not from -LARGEST to LARGEST); FileNotFoundError
    where there is no such file.
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
    except (KeyError, ValueError, RecursionError) as error:  # thousands of brackets
        raise ValueError(
            f"file: expected settings as JSON, got none that can be read in {path.name}. Make the edit again."
        ) from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"file: expected settings by name, got a {type(settings).__name__} in {path.name}. Make the edit again."
        )
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  not a dictionary
    return _numbers("file", kind, tensors, f" of {path.name}"), settings


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


def _numbers(
    input_name: str, kind: str, tensors: dict[str, torch.Tensor], of_file: str = ""
) -> dict[str, torch.Tensor]:
    """The tensors, weights in float32. Raises ValueError, naming the tensor, for other numbers than `read` takes."""
    tables = _TABLES.get(kind)
    numbers = {}
    for name, tensor in tensors.items():
        is_table = tables is not None and name.startswith(tables)
        fits = not (tensor.is_floating_point() or tensor.is_complex()) if is_table else tensor.is_floating_point()
        if not fits:
            expected = "whole numbers" if is_table else "real floating point numbers"
            raise ValueError(
                f"{input_name}: expected {expected}, got {tensor.dtype} in {name}{of_file}. Make the edit again."
            )
        numbers[name] = tensor if is_table else _weights(input_name, name, tensor, of_file)
    return numbers


def _weights(input_name: str, name: str, tensor: torch.Tensor, of_file: str) -> torch.Tensor:
    try:
        weights = tensor.float()
    except NotImplementedError as error:  # a dtype of packed numbers
        raise ValueError(
            f"{input_name}: expected numbers that can be read, got {tensor.dtype} in {name}{of_file}. Save the edit in "
            "another precision."
        ) from error
    outside = weights[~(weights.abs() <= LARGEST)]  # NaN too
    if outside.numel():
        raise ValueError(
            f"{input_name}: expected numbers from {-LARGEST:g} to {LARGEST:g}, got {float(outside.flatten()[0]):g} in "
            f"{name}{of_file}. Make the edit again."
        )
    return weights
