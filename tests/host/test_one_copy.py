"""The pack's own package is one copy in a process, under whatever name the host loads the pack."""

from __future__ import annotations

import shutil
import subprocess
import sys

import loading
import pytest

import safelight
from safelight.guidance.schedule import WeightSchedule


def test_what_the_nodes_make_is_of_the_package_that_everybody_imports(pack):
    (schedule,) = pack.nodes["SafelightWeightSchedule"]().make("gentle", 0.2, "noise level")
    assert type(schedule) is WeightSchedule


def test_no_module_of_the_package_is_loaded_twice(pack):
    files: dict[str, list[str]] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if file.startswith(str(loading.ROOT / "safelight")):
            files.setdefault(file, []).append(name)
    assert len(files) > 40
    assert [names for names in files.values() if len(names) > 1] == []


def test_a_pack_under_a_second_name_shares_the_package(pack):
    second = loading.load_file("safelight_under_another_name", loading.ROOT / "__init__.py", package=True)
    assert second.NODE_CLASS_MAPPINGS.keys() == pack.nodes.keys()
    (schedule,) = second.NODE_CLASS_MAPPINGS["SafelightWeightSchedule"]().make("gentle", 0.2, "noise level")
    assert type(schedule) is WeightSchedule


def test_a_second_copy_of_the_pack_is_refused_with_both_places(pack, tmp_path):
    shutil.copy(loading.ROOT / "__init__.py", tmp_path)
    (tmp_path / "safelight").mkdir()
    shutil.copy(loading.ROOT / "safelight" / "__init__.py", tmp_path / "safelight")
    with pytest.raises(ImportError, match="installed twice") as caught:
        loading.load_file("safelight_copy", tmp_path / "__init__.py", package=True)
    assert str(tmp_path) in str(caught.value) and str(safelight.__file__) in str(caught.value)


def test_a_host_that_loads_the_pack_under_its_folders_name_has_one_copy_too(request):
    """As the package index build does with a folder called safelight: the name is the package's own."""
    checkout = request.config.checkout
    script = f"""
import sys
from pathlib import Path
sys.path.append({str(loading.HERE)!r})
import loading
loading.load_host({f"Path({str(checkout)!r})" if checkout else None})
sys.path.remove(str(loading.ROOT))
pack = loading.load_file("safelight", loading.ROOT / "__init__.py", package=True)
from safelight.guidance.schedule import WeightSchedule
(schedule,) = pack.NODE_CLASS_MAPPINGS["SafelightWeightSchedule"]().make("gentle", 0.2, "noise level")
assert type(schedule) is WeightSchedule
assert sum(name.endswith("guidance.schedule") for name in sys.modules) == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
