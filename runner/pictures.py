"""`python run.py pictures`: the nodes on the newest page, for help (js/docs/images) and docs; thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import browser, thumbnails
from .environment import TEST_STEPS, prepare
from .hosts import Host
from .messages import Failure, say

LARGEST = 60_000  # bytes; they travel with the pack


def make(root: Path, host: Host, environment: Path, which: Sequence[str]) -> int:
    """Makes the pictures of `which`, "nodes" and "workflows". Returns the exit code."""
    if host.path is None:
        raise Failure("pictures show real runs on a recent ComfyUI", "name one, 0.3.64 or newer: --comfyui PATH")
    python = prepare(host, environment, extra=TEST_STEPS)
    if "nodes" in which:
        take(root, host, python)
    if "workflows" in which:
        thumbnails.make(root, host, python)
    return 0


def take(root: Path, host: Host, python: Path) -> None:
    """Runs tests/browser/pictures.mjs on a real server in both modes."""
    tests = root / "tests" / "browser"
    folders = {"SAFELIGHT_HELP": root / "js" / "docs" / "images", "SAFELIGHT_README": root / "docs"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    try:
        node, chromium = browser.find_node(), browser.find_chromium()
        browser.install_modules(tests)
        frontend = browser.get_frontend(python, browser.NEWEST, root / ".frontends")
    except browser.Missing as reason:
        raise Failure(str(reason)) from reason
    with browser.serving(frontend, host, python, root) as url:
        for mode in frontend.modes:
            counts = browser.run_node(
                node,
                [tests / "pictures.mjs"],
                root,
                root / "output" / "pictures.xml",
                "",
                CHROMIUM=chromium,
                SAFELIGHT_URL=url,
                SAFELIGHT_MODE=mode,
                **{name: str(folder) for name, folder in folders.items()},
            )
            if counts.code != 0:
                raise Failure(f"the pictures in {mode} were not all taken", "see what stands above")
    for path in sorted(path for folder in folders.values() for path in folder.glob("*.jpg")):
        size = path.stat().st_size
        say(f"{path.relative_to(root)}: {size / 1000:.0f} kB" + (" (too large)" if size > LARGEST else ""))
