"""Loads the pack into a host as the host does; `--comfyui PATH` chooses the host.

    python -m pytest tests/contract --import-mode=importlib

After adding a node, an input, an output or a choice, record it: `--record` appends it to nodes.json, and refuses to
change what is recorded. Use a host that has every node (0.3.64 or newer).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "host")]

import loading  # noqa: E402
import snapshot  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--comfyui", metavar="PATH", default=os.environ.get("COMFYUI_PATH") or None)
    parser.addoption("--record", action="store_true", help="append what is new to nodes.json")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--comfyui")
    loading.load_host(Path(path).resolve() if path else None)


@pytest.fixture(scope="session")
def pack():
    return loading.load_pack()


@pytest.fixture(scope="session")
def present(pack):
    """Node id to description, of every node that this host gets."""
    from comfy.samplers import KSampler

    host_choices = [list(KSampler.SAMPLERS), list(KSampler.SCHEDULERS)]
    return {node_id: snapshot.describe(node, host_choices) for node_id, node in pack.NODE_CLASS_MAPPINGS.items()}


@pytest.fixture(scope="session")
def recorded(present, request):
    """The snapshot, without the nodes that this host cannot have."""
    import importlib.util

    everything = snapshot.load()
    if request.config.getoption("--record") and not snapshot.breaks(everything, present):
        snapshot.save({**everything, **present})
        everything = snapshot.load()
    if importlib.util.find_spec("comfy.patcher_extension") is None:
        # Model patches need the host's wrappers.
        everything = {node_id: node for node_id, node in everything.items() if not node_id.endswith("Patch")}
    return everything
