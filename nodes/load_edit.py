"""What the nodes that load an edit have in common."""

from __future__ import annotations

from typing import Any

from safelight.engine import edit_files


class LoadsEdit:
    """A node whose input `file` names an edit of its KIND: wrong files are told before the run, new ones loaded."""

    KIND: str

    @classmethod
    def VALIDATE_INPUTS(cls, file: str) -> bool | str:
        try:
            edit_files.load(file, cls.KIND)
        except (ValueError, OSError) as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> str:
        return edit_files.file_state(file)
