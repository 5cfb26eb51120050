"""The base class of the nodes that load an edit."""

from __future__ import annotations

from safelight.engine import edit_files


class LoadsEdit:
    """A node whose input `file` names an edit of its KIND.

    A wrong file is an error before the run; a file that changed is loaded again.
    """

    KIND: str

    @classmethod
    def VALIDATE_INPUTS(cls, file: str) -> bool | str:
        try:
            edit_files.load(file, cls.KIND)
        except (ValueError, OSError) as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, file: str, **_: object) -> str:
        return edit_files.file_state(file)
