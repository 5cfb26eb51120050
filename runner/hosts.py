"""Which ComfyUI to use, and why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .clone import clone_release, is_checkout
from .messages import Failure

INDEX = "index"  # what `--comfyui` takes for the build from the package index
INDEX_VERSION = "0.0.1"
INDEX_PYTHONS = ((3, 10), (3, 13))  # from, below: what that build declares


@dataclass(frozen=True)
class Host:
    """A ComfyUI: its source folder (None for the package index build) and how it was found.

    `python` is the interpreter of an environment to use as it is; None stands for the one that `run.py` makes.
    """

    path: Path | None
    version: str
    why: str
    python: Path | None = None

    @property
    def name(self) -> str:
        place = str(self.path) if self.path else "package index build"
        return f"ComfyUI {self.version} ({place})"


def checkout_version(path: Path) -> str:
    """The version a ComfyUI source folder states, or "of unknown version"."""
    for file in (path / "comfyui_version.py", path / "pyproject.toml"):
        if file.is_file():
            found = re.search(r"^(?:__version__|version)\s*=\s*[\"']([^\"']+)", file.read_text("utf-8"), re.MULTILINE)
            if found:
                return found[1]
    return "of unknown version"


def environment_python(folder: Path) -> Path | None:
    """The interpreter in a virtual environment's folder, on any system."""
    for relative in ("bin/python", "Scripts/python.exe", "python.exe"):
        if (folder / relative).is_file():
            return folder / relative
    return None


def has_torch(python: Path) -> bool:
    """True if this interpreter runs and finds torch."""
    probe = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
    try:
        return subprocess.run([str(python), "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _pythons_beside(path: Path) -> Iterator[Path]:
    """Interpreters that a ComfyUI is commonly installed with; the last is the portable Windows build's."""
    for folder in (path / "venv", path / ".venv", path.parent / "python_embeded"):
        python = environment_python(folder)
        if python:
            yield python


def own_python(path: Path, *, running: bool = False) -> Path | None:
    """The environment a ComfyUI already runs in, if it has torch; `running` also asks the one running this."""
    candidates = [Path(sys.executable)] if running else []
    return next((python for python in [*candidates, *_pythons_beside(path)] if has_torch(python)), None)


def surrounding_checkout(root: Path) -> Path | None:
    """The ComfyUI whose custom_nodes folder holds this pack."""
    if root.parent.name == "custom_nodes" and is_checkout(root.parent.parent):
        return root.parent.parent
    return None


def find_host(root: Path, comfyui: str | None, hosts: Path, python: Path | None = None) -> Host:
    """The first of: the one named, the one around this pack, a clone of a pinned release, the package index build."""
    named, by = (comfyui, "--comfyui") if comfyui else (os.environ.get("COMFYUI_PATH"), "COMFYUI_PATH")
    if named == INDEX:
        return _index_host(f"{by} asks for it", python)
    if named:
        path = Path(named).expanduser().resolve()
        if not is_checkout(path):
            raise Failure(
                f"{by}={named} is not a ComfyUI folder: it has no main.py with a comfy folder beside it",
                "name the folder that holds ComfyUI's main.py",
            )
        return Host(path, checkout_version(path), f"named by {by}", python or own_python(path))
    around = surrounding_checkout(root)
    if around:
        chosen = python or own_python(around, running=True)
        return Host(around, checkout_version(around), "this pack sits in its custom_nodes", chosen)
    cloned, why = clone_release(hosts, os.environ.get("SAFELIGHT_HOST_URL"))
    if cloned:
        return Host(cloned, checkout_version(cloned), why, python)
    return _index_host(f"no clone of ComfyUI: {why}", python)


def _index_host(why: str, python: Path | None) -> Host:
    low, high = INDEX_PYTHONS
    if python is None and not low <= sys.version_info[:2] < high:
        raise Failure(
            f"{why}, and the package index build of ComfyUI needs Python 3.10 to 3.12; this is Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}",
            "run this with such a Python, or name a ComfyUI folder with --comfyui PATH",
        )
    return Host(None, INDEX_VERSION, why, python)
