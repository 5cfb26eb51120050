"""Brings a ComfyUI and this pack into the test process, the way the host itself loads a pack."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACK = "safelight_under_test"  # the host loads a pack under a name of its own; so do we


def load_file(name: str, path: Path, package: bool = False) -> ModuleType:
    """Executes the file at `path` as the module `name`."""
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)] if package else None
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def hear_interrupts() -> None:
    """For a child process that is to be interrupted: a suite in the background of a script hands down deaf ears."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def load_host(checkout: Path | None) -> None:
    """Makes `import comfy...` mean the ComfyUI at `checkout`, or the installed one, on the CPU and without a server."""
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin stand in each other's way on a busy machine
    # At the end, because `nodes` is the host's name too.
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != ROOT] + [str(ROOT)]
    from runner import shim

    shim.apply()
    if checkout is not None:
        if not (checkout / "comfy" / "samplers.py").is_file():
            raise FileNotFoundError(f"--comfyui {checkout}: no ComfyUI there (it has no comfy/samplers.py)")
        shim.prefer_checkout(checkout)
    from comfy.cli_args import args

    args.cpu = True
    scratch = tempfile.mkdtemp(prefix="safelight-host-")  # the host makes its input and output folders on import
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    setattr(args, "cwd" if hasattr(args, "cwd") else "base_directory", scratch)

    import torch

    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)  # as the host's executor does (torch.inference_mode)


def load_pack() -> ModuleType:
    """The pack's root module, loaded by file as the host's custom node loader does."""
    return load_file(PACK, ROOT / "__init__.py", package=True)
