"""The folders of edits and their files."""

from __future__ import annotations

import os
from pathlib import Path

from safelight.checks import check_texts, shortened
from safelight.edits import edit_file
from safelight.edits.edit_file import Edit
from safelight.engine.host import folder_paths

FOLDER = "safelight"  # in models, and in output, where edits are saved
SHIPPED = Path(__file__).resolve().parents[2] / "demo" / "weights"  # the demo model's adapter is beside its weights
EDIT_TYPE = "SAFELIGHT_EDIT"
NONE_YET = "(none saved yet)"  # stands in a list of choices, which pages can't show empty
MAX_STRENGTH = 2.0  # of every edit that has a strength


def choices(kind: str) -> list[str]:
    """For a node's list: the names of the files of this kind, or NONE_YET."""
    return files(kind) or [NONE_YET]


def files(kind: str) -> list[str]:
    """The names of all edits of this kind in the folders."""
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
    if not isinstance(name, str):
        raise ValueError(f"file: expected the name of a file, got {shortened(name)}. Choose a file, or link its name.")
    if name == NONE_YET:
        raise FileNotFoundError(
            f"file: expected a file in models/{FOLDER} or output/{FOLDER}, and there is none of this kind yet. Save "
            "one with Safelight Save Edit, or put one there; then reload the list of nodes (R)."
        )
    _register()
    path = folder_paths.get_full_path(FOLDER, name)
    if path is None:
        raise FileNotFoundError(
            f"file: expected a file in models/{FOLDER} or output/{FOLDER}, got {name}, which is in neither. Save the "
            "edit with Safelight Save Edit, or choose another file."
        )
    return Path(path)


def _output_folder() -> str:
    return os.path.join(folder_paths.get_output_directory(), FOLDER)


def _register() -> None:
    """Registers the folders with the host, which also reads `safelight` in an artist's own list of model paths."""
    for path in (os.path.join(folder_paths.models_dir, FOLDER), _output_folder(), str(SHIPPED)):
        folder_paths.add_model_folder_path(FOLDER, path)


def file_state(name: str) -> str:
    """A text that changes when the file of this name does."""
    state = os.stat(_path(name))
    return f"{state.st_mtime_ns} {state.st_size}"


def save(edit: object, filename_prefix: str) -> tuple[str, dict[str, str]]:
    """Writes the edit to the output folder. Returns its name in the lists of files, and its place for the page."""
    if not isinstance(edit, Edit):
        raise ValueError(f"edit: expected an edit, got {type(edit).__name__}. Connect the node that makes one.")
    check_texts(filename_prefix=filename_prefix)
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, _output_folder())
    _register()
    while folder_paths.get_full_path(FOLDER, os.path.join(subfolder, f"{name}_{counter:05}_.safetensors")):
        counter += 1  # the name may be in use in another of the folders
    file = f"{name}_{counter:05}_.safetensors"
    edit_file.write(os.path.join(folder, file), edit.kind, edit.tensors, edit.settings)
    place = {"filename": file, "subfolder": os.path.join(FOLDER, subfolder), "type": "output"}
    return os.path.join(subfolder, file), place
