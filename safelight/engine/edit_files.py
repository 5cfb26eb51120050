"""The folders of edits, and the files in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safelight.edits import edit_file
from safelight.edits.edit_file import Edit
from safelight.engine.host import folder_paths

FOLDER = "safelight"  # models/safelight, and where saving puts them: output/safelight
SHIPPED = Path(__file__).resolve().parents[2] / "demo" / "weights"  # the demo model's adapter lies beside its weights
EDIT_TYPE = "SAFELIGHT_EDIT"
MAX_STRENGTH = 2.0  # of every edit that has a strength


def files(kind: str) -> list[str]:
    """The names of all files of this kind in the folders, for a choice. Other files are passed over."""
    _register()
    names = []
    for name in folder_paths.get_filename_list(FOLDER):
        path = folder_paths.get_full_path(FOLDER, name) if name.endswith(".safetensors") else None
        if path is not None and edit_file.kind_of(path) == kind:
            names.append(name)
    return names


def load(name: str, kind: str) -> Edit:
    """The edit in the file of this name. Raises ValueError or FileNotFoundError, naming file and kinds."""
    return Edit(kind, *edit_file.read(_path(name), kind))


def _path(name: str) -> Path:
    _register()
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        raise FileNotFoundError(
            f"file: there is no {name} in models/{FOLDER} or output/{FOLDER}; save the edit with Safelight Save Edit, "
            "or choose another file."
        )
    return Path(path)


def _saved() -> str:
    return os.path.join(folder_paths.get_output_directory(), FOLDER)


def _register() -> None:
    """Makes the folders known to the host, which also reads `safelight` in an artist's own list of model paths."""
    for path in (os.path.join(folder_paths.models_dir, FOLDER), _saved(), str(SHIPPED)):
        folder_paths.add_model_folder_path(FOLDER, path)


def file_state(name: str) -> str:
    """Changes when the file of this name does."""
    state = os.stat(_path(name))
    return f"{state.st_mtime_ns} {state.st_size}"


def save(edit: Any, filename_prefix: str) -> tuple[str, dict[str, str]]:
    """Writes the edit in the output folder: its name, as the loading nodes list it, and its place for the page."""
    if not isinstance(edit, Edit):
        raise ValueError(f"edit: expected an edit, got {type(edit).__name__}. Connect the node that makes one.")
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, _saved())
    _register()
    while folder_paths.get_full_path(FOLDER, os.path.join(subfolder, f"{name}_{counter:05}_.safetensors")):
        counter += 1  # a file of this name may have been moved to another of the folders
    file = f"{name}_{counter:05}_.safetensors"
    edit_file.write(os.path.join(folder, file), edit.kind, edit.tensors, edit.settings)
    place = {"filename": file, "subfolder": os.path.join(FOLDER, subfolder), "type": "output"}
    return os.path.join(subfolder, file), place
