"""What a process needs before it imports a ComfyUI, for the harness alone.

torchvision and torchaudio beside a CPU-only torch: their wheels carry compiled libraries linked against CUDA. Where
those don't load, `import torchvision` fails on `operator torchvision::nms does not exist`, and `import torchaudio` on
its library. ComfyUI needs neither library for what Safelight does. The standard library alone until torchvision is
imported: recent hosts want to set up the CUDA allocator before torch is.

And a ComfyUI from a folder beside an installed one.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path

# torchvision's Python half registers fake kernels for these two, so that they must exist.
MISSING_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list = []  # a torch.library.Library takes its operators with it when it is collected


def _loads(package: str, pattern: str) -> bool:
    """True if `package` is absent, has no library of that name, or has one that loads."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return True
    import torch

    for library in Path(spec.submodule_search_locations[0]).glob(pattern):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return True


def define_missing_operators() -> bool:
    """Defines torchvision's operators if its library can't; returns whether it had to."""
    if _libraries or "torchvision" in sys.modules or _loads("torchvision", "_C*.so"):
        return False
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in MISSING_OPERATORS.values():
        library.define(schema)
    _libraries.append(library)
    return True


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; is asked about torchvision before the finder that does."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            define_missing_operators()
        return None


def apply() -> None:
    """Makes the next `import torchvision` work in this process. Calling it again does nothing."""
    if not sys.platform.startswith("linux") or "torchvision" in sys.modules:
        return  # the wheels for macOS and Windows match the torch of their index
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())


class _CheckoutFirst(MetaPathFinder):
    """Finds a checkout's folders without an __init__.py before an installed package of the same name.

    A checkout's `comfy` is a namespace package, and Python prefers a regular one that stands later on sys.path.
    """

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    def find_spec(self, fullname, path=None, target=None):
        folder = self.checkout / fullname
        if path is not None or not folder.is_dir() or (folder / "__init__.py").exists():
            return None
        if not any(folder.glob("*.py")):
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


def prefer_checkout(checkout: Path) -> None:
    """Makes `import comfy` and the host's other modules mean those of the ComfyUI in this folder."""
    sys.path.insert(0, str(checkout))
    sys.meta_path.insert(0, _CheckoutFirst(checkout))


def drop_unloadable_torchaudio() -> list[str]:
    """Removes torchaudio's library files from this environment if they don't load; returns their names.

    Only ever called in the environment that `run.py` made: torchaudio runs without them.
    """
    if not sys.platform.startswith("linux") or _loads("torchaudio", "lib/*torchaudio*.so"):
        return []
    spec = importlib.util.find_spec("torchaudio")
    assert spec is not None and spec.submodule_search_locations
    dropped = []
    for library in Path(spec.submodule_search_locations[0]).glob("lib/*torchaudio*.so"):
        library.unlink()
        dropped.append(library.name)
    return dropped


if __name__ == "__main__":
    for name in drop_unloadable_torchaudio():
        print(f"removed {name} of torchaudio, which needs a CUDA that is not here; nothing uses it")
