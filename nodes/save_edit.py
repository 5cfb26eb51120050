"""SafelightSaveEdit: an edit as a small file."""

from __future__ import annotations

from typing import Any

from safelight.edits.edit_file import Edit
from safelight.engine import edit_files

from . import inputs


class SafelightSaveEdit:
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("file",)
    OUTPUT_TOOLTIPS = ("The file's name, as the nodes that load edits list it.",)
    OUTPUT_NODE = True
    FUNCTION = "save"
    CATEGORY = inputs.EDITS
    SEARCH_ALIASES = [
        "save erase",
        "save redaction",
        "save concept vector",
        "save latent guard",
    ]
    DESCRIPTION = (
        "Saves an edit as a small safetensors file with its settings, in output/safelight. The nodes that load edits "
        "list it there, and in models/safelight."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "edit": (edit_files.EDIT_TYPE, {"tooltip": "From the node that made the edit."}),
                "filename_prefix": (
                    "STRING",
                    {
                        "default": "edit",
                        "tooltip": "How the file's name begins; a counter follows. It may begin with a folder.",
                    },
                ),
            },
        }

    def save(self, edit: Edit, filename_prefix: str = "edit") -> dict[str, Any]:
        file, place = edit_files.save(edit, filename_prefix)
        return {"ui": {"safelight_files": [place]}, "result": (file,)}
