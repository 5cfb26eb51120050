"""Safelight: ComfyUI nodes that steer a picture away from what is unsafe and keep everything else."""

import importlib.util
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent / "safelight"


def _import_package() -> None:
    """Makes `import safelight` mean the package beside this file, under whatever name the host loads the pack."""
    if __name__ == "safelight":  # a host of 2024 loads a pack under its folder's name
        __path__.append(str(_PACKAGE))
        return
    loaded = sys.modules.get("safelight")
    if loaded is None:
        spec = importlib.util.spec_from_file_location(
            "safelight", _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
        )
        assert spec is not None and spec.loader is not None
        sys.modules["safelight"] = loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    if Path(loaded.__file__ or "").resolve().parent != _PACKAGE:
        raise ImportError(
            f"Safelight is installed twice: {loaded.__file__} and {_PACKAGE}. Keep one of the two folders."
        )


_import_package()

from safelight.engine import http_routes, typed_prompt  # noqa: E402

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # noqa: E402

WEB_DIRECTORY = "js"

http_routes.serve()
typed_prompt.serve()

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
