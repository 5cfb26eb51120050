"""The folders of edits, the files in them, and the nodes that save and load them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safelight.edits import edit_file
from safelight.edits.edit_file import Edit
from safelight.engine.host import folder_paths
from nodes.inputs import SEARCH_ALIASES

FOLDER = "safelight"  # models/safelight, and where saving puts them: output/safelight
SHIPPED = Path(__file__).resolve().parents[1] / "demo" / "weights"  # the demo model's adapter lies beside its weights
CATEGORY = "Safelight/edits"
EDIT_TYPE = "SAFELIGHT_EDIT"
MAX_STRENGTH = 2.0  # of every edit that has a strength
EDIT_TOOLTIP = "The edit with its settings, for Safelight Save Edit."


def files(kind: str) -> list[str]:
    """The names of all files of this kind in the folders, for a choice. Other files are passed over."""
    _register()
    found = []
    for name in folder_paths.get_filename_list(FOLDER):
        path = folder_paths.get_full_path(FOLDER, name) if name.endswith(".safetensors") else None
        if path is not None and edit_file.kind_of(path) == kind:
            found.append(name)
    return found


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


class LoadsEdit:
    """A node whose input `file` names an edit of its KIND: wrong files are told before the run, new ones loaded."""

    KIND: str

    @classmethod
    def VALIDATE_INPUTS(cls, file: str) -> bool | str:
        try:
            load(file, cls.KIND)
        except (ValueError, OSError) as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> str:
        found = os.stat(_path(file))
        return f"{found.st_mtime_ns} {found.st_size}"


class SafelightSaveEdit:
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("file",)
    OUTPUT_TOOLTIPS = ("The file's name, as the nodes that load edits list it.",)
    OUTPUT_NODE = True
    FUNCTION = "save"
    CATEGORY = CATEGORY
    SEARCH_ALIASES = [*SEARCH_ALIASES, "save erase", "save redaction", "save concept vector"]
    DESCRIPTION = (
        "Saves an edit as a small safetensors file with its settings, in output/safelight. The nodes that load edits "
        "list it there, and in models/safelight."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "edit": (EDIT_TYPE, {"tooltip": "From the node that made the edit."}),
                "filename_prefix": ("STRING", {
                    "default": "edit",
                    "tooltip": "How the file's name begins; a counter follows. A folder may stand before it.",
                }),
            },
        }  # fmt: skip

    def save(self, edit: Edit, filename_prefix: str = "edit") -> dict[str, Any]:
        if not isinstance(edit, Edit):
            raise ValueError(f"edit: it is no edit ({type(edit).__name__}); connect the node that makes one.")
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, _saved())
        _register()
        while folder_paths.get_full_path(FOLDER, os.path.join(subfolder, f"{name}_{counter:05}_.safetensors")):
            counter += 1  # a file of this name may have been moved to another of the folders
        file = f"{name}_{counter:05}_.safetensors"
        edit_file.write(os.path.join(folder, file), edit.kind, edit.tensors, edit.settings)
        shown = {"filename": file, "subfolder": os.path.join(FOLDER, subfolder), "type": "output"}
        return {"ui": {"safelight_files": [shown]}, "result": (os.path.join(subfolder, file),)}


NODE_CLASS_MAPPINGS = {"SafelightSaveEdit": SafelightSaveEdit}
NODE_DISPLAY_NAME_MAPPINGS = {"SafelightSaveEdit": "Safelight Save Edit"}
