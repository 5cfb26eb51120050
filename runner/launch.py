"""Runs in the host's own process: `python launch.py FOLDER ARGUMENTS...`, FOLDER being ComfyUI's or "index"."""

import importlib
import importlib.util
import os
import runpy
import sys
from pathlib import Path


def main() -> None:
    here = Path(__file__).resolve()
    # The modules beside this one are none of the host's business: it has a `server` and a `nodes` of its own.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in (here.parent, here.parents[1])]
    spec = importlib.util.spec_from_file_location("safelight_shim", here.with_name("shim.py"))
    assert spec is not None and spec.loader is not None
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    shim.apply()

    folder, *arguments = sys.argv[1:]
    if folder == "index":
        sys.argv = ["comfyui", *arguments]
        importlib.import_module("comfy.cmd.main").entrypoint()
    else:
        sys.argv = ["main.py", *arguments]
        shim.prefer_checkout(Path(folder))
        os.chdir(folder)
        runpy.run_path(os.path.join(folder, "main.py"), run_name="__main__")


if __name__ == "__main__":
    main()
