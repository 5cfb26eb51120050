"""The base class of the nodes that load an edit."""

from __future__ import annotations

from safelight.engine import edit_files


class LoadsEdit:
    """A node whose input `file` names an edit of its KIND.

    A wrong file is an error before the run; a file that changed is loaded again. Where `file` is linked, the host asks
    with None before the run: the file is checked when the node runs.
    """

    KIND: str

    @classmethod
    def VALIDATE_INPUTS(cls, file: str | None = None) -> bool | str:
        if file is None:
            return True
        try:
            edit_files.load(file, cls.KIND)
        except (ValueError, OSError) as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, file: str | None, **_: object) -> str:
        # A linked file may be any of them.
        names = edit_files.files(cls.KIND) if file is None else [file]
        return "\n".join(edit_files.file_state(name) for name in names)
