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
    if checkout is not None and not (checkout / "comfy" / "samplers.py").is_file():
        raise FileNotFoundError(f"--comfyui {checkout}: no ComfyUI there (it has no comfy/samplers.py)")
    os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
    scratch = tempfile.mkdtemp(prefix="safelight-host-")  # the host makes its input and output folders on import
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    sys.path.append(str(ROOT))  # at the end, because `nodes` is the host's name too
    from runner.host_process import enter_host

    enter_host(checkout, cpu=True, folder=Path(scratch))
    import torch

    torch.use_deterministic_algorithms(True)
    torch.set_grad_enabled(False)  # as the host's executor does (torch.inference_mode)


def load_pack() -> ModuleType:
    """The pack's root module, loaded by file as the host's custom node loader does."""
    return load_file(PACK, ROOT / "__init__.py", package=True)
