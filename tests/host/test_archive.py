"""The registry's archive, as `comfy node pack` builds it: the tracked files without those that .comfyignore names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import loading
import pytest


def listed(*options: str) -> set[str]:
    words = ["git", "ls-files", "-z", "--cached", *options]
    done = subprocess.run(words, cwd=loading.ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split("\0")) - {""}


@pytest.fixture(scope="module")
def archive():
    return listed() - listed("--ignored", "--exclude-from=.comfyignore")


def test_the_archive_has_all_that_the_pack_and_its_page_need(archive):
    tracked = listed()
    needed = ("__init__.py", "nodes/", "safelight/", "js/", "locales/", "workflows/", "subgraphs/", "LICENSE")
    assert {file for file in tracked if file.startswith(needed)} <= archive
    assert {file for file in tracked if file.startswith("demo/")} <= archive, "with the weights"
    assert {"pyproject.toml", "requirements.txt", "README.md"} <= archive


def test_the_archive_has_help_for_every_node_and_none_of_the_workshop(archive, pack):
    pages = {Path(file).stem for file in archive if file.startswith("js/docs/") and file.endswith(".md")}
    assert pack.nodes.keys() <= pages
    assert not [file for file in archive if file.startswith(("tests/", "bench/", "runner/", ".github/", "docs/"))]


@pytest.fixture
def unpacked(archive, request, tmp_path):
    """Runs Python with the host and, as `pack`, the archive's pack in a custom_nodes folder; gives what it prints."""
    folder, checkout = tmp_path / "custom_nodes" / "safelight", request.config.checkout
    for file in archive:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(loading.ROOT / file, folder / file)
    begin = f"""
import sys
from pathlib import Path
sys.path.append({str(loading.HERE)!r})
import loading
loading.load_host({f"Path({str(checkout)!r})" if checkout else None})
sys.path.remove(str(loading.ROOT))
folder = Path({str(folder)!r})
pack = loading.load_file("safelight_pack", folder / "__init__.py", package=True)
import safelight
assert safelight.__file__.startswith(str(folder)), safelight.__file__
"""

    def run(script: str) -> str:
        command = [sys.executable, "-c", begin + script]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_is_unpacked_loads_with_its_page_and_its_model(unpacked):
    said = unpacked("""
assert (folder / pack.WEB_DIRECTORY / "safelight.js").is_file()
model, clip, vae = pack.NODE_CLASS_MAPPINGS["SafelightDemoLoader"]().load()
adapters, _ = pack.NODE_CLASS_MAPPINGS["SafelightSafeAdapter"].INPUT_TYPES()["required"]["file"]
print(type(model.model).__name__, len(adapters))
""")
    assert said.split()[-2:] == ["BaseModel", "1"]


def test_without_its_weights_the_demo_loader_says_what_to_do(unpacked):
    said = unpacked("""
import shutil
shutil.rmtree(folder / "demo" / "weights")
try:
    pack.NODE_CLASS_MAPPINGS["SafelightDemoLoader"]().load()
except FileNotFoundError as error:
    print(error)
""")
    assert "weights: expected model.safetensors in demo/weights" in said and "Load Checkpoint" in said
