"""A release of ComfyUI, cloned from its repository."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from .messages import Progress
from .processes import run_watched

REPOSITORY = "https://github.com/Comfy-Org/ComfyUI"
RELEASE = "v0.3.64"
SILENCE = 20.0  # seconds without a word from the other side


def is_checkout(path: Path) -> bool:
    """True for a folder that holds ComfyUI's source."""
    return (path / "main.py").is_file() and (path / "comfy").is_dir()


def clone_release(hosts: Path, url: str | None = None, silence: float = SILENCE) -> tuple[Path | None, str]:
    """The pinned release under `hosts`, cloned unless it is there; returns its folder, or None and the reason.

    `url` names another repository to clone (SAFELIGHT_HOST_URL). A server that is silent for `silence` seconds is
    given up.
    """
    name = f"comfyui-{RELEASE}" + (f"-{hashlib.sha256(url.encode()).hexdigest()[:8]}" if url else "")
    source = url or REPOSITORY
    target, partial = hosts / name, hosts / f"{name}.part"
    if is_checkout(target):
        return target, f"the clone of {RELEASE} made earlier"
    git = shutil.which("git")
    if git is None:
        return None, "git is not installed"
    hosts.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    progress = Progress(f"Cloning ComfyUI {RELEASE} from {source}")
    command = [git, "clone", "--progress", "--depth", "1", "--branch", RELEASE, "--single-branch", source, str(partial)]
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GCM_INTERACTIVE": "never", "LC_ALL": "C"}
    finished = run_watched(command, silence=silence, on_line=progress.update, env={**os.environ, **quiet})
    if finished.returncode == 0 and is_checkout(partial):
        partial.rename(target)
        progress.done("cloned")
        return target, f"a clone of {RELEASE} from {source}"
    shutil.rmtree(partial, ignore_errors=True)
    if finished.returncode is None:
        reason = f"{source} gave no answer for {silence:.0f} s"
    elif finished.returncode == 0:
        reason = f"{source} at {RELEASE} is not a ComfyUI"
    else:
        reason = next((line for line in finished.tail if line.startswith("fatal")), "git clone failed")
    progress.done("no clone")
    return None, reason
