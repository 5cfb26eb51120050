"""The layout that CONTRIBUTING.md describes: what may import what, and where things are.

Each rule is a function that lists what breaks it in a repository; the last test breaks every rule in a small one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What the rooms of safelight/ may import of each other.
ROOMS: dict[str, set[str]] = {
    "checks": set(),
    "text": {"checks"},
    "edits": {"checks"},
    "guidance": {"checks", "text"},
    "detect": {"checks"},
    "views": {"checks", "edits", "detect"},
    "studio": {"checks", "guidance", "detect", "views"},
    "engine": {"checks", "text", "edits", "guidance", "detect", "views", "studio"},
}
# What each folder of the tools may not import, since it stands above it.
ABOVE = {"demo": {"bench"}, "runner": {"bench", "demo"}}
LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy", "einops", "safetensors", "tokenizers", "PIL"}
OPTIONAL = {"nudenet"}  # what an artist may install; asked for where it is used
HOST = {"comfy", "comfy_execution", "folder_paths", "latent_preview", "nodes", "aiohttp"}
# Modules of nodes/ that nodes share, without a node in them.
SHARED = {"__init__.py", "bases.py", "inputs.py", "load_edit.py"}
# They decide where a process finds the host and the pack, or load what tests share.
SET_PATHS = {
    *("runner/host_process.py", "runner/launch.py", "runner/shim.py"),
    *("tests/unit/conftest.py", "tests/contract/conftest.py", "tests/host/conftest.py", "tests/host/loading.py"),
    *("tests/host/tiny_pack/__init__.py", "tests/host/test_sld_reference.py"),
    *("tests/unit/test_sld.py", "tests/vectors/make_sld_reference.py"),
}
# They ask for the host's modules, or load the pack.
READ_MODULES = {"runner/host_process.py", "runner/shim.py", "safelight/engine/host.py"}
LONGEST = 400
MOST_WORDS = 2000  # of README; the rest belongs in docs/


def python_files(root: Path, *folders: str) -> Iterator[tuple[str, list[ast.AST]]]:
    """The files' paths in the repository, and all their nodes."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), list(ast.walk(ast.parse(path.read_text("utf-8"))))


def imported(nodes: list[ast.AST]) -> Iterator[str]:
    """Absolute names of all that a file imports, by a statement or by import_module("...")."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield node.args[0].value if isinstance(node.args[0], ast.Constant) else ast.unparse(node.args[0])


def uses(nodes: list[ast.AST], name: str) -> Iterator[ast.AST]:
    """Uses of `sys.<name>`, and imports of it."""
    for node in nodes:
        from_sys = isinstance(node, ast.ImportFrom) and node.module == "sys" and name in [a.name for a in node.names]
        if from_sys or (isinstance(node, ast.Attribute) and ast.unparse(node) == f"sys.{name}"):
            yield node


def classes(nodes: list[ast.AST]) -> dict[str, list[str]]:
    """Names of the classes, with those of their bases."""
    defined = [node for node in nodes if isinstance(node, ast.ClassDef)]
    return {node.name: [ast.unparse(base).split(".")[-1] for base in node.bases] for node in defined}


def only_engine_and_nodes_import_the_host(root: Path) -> list[str]:
    broken = []
    for file, nodes in python_files(root, "safelight", "nodes"):
        on_the_host = file.startswith(("safelight/engine/", "nodes/"))
        allowed = {"safelight", *LIBRARIES, *OPTIONAL, *(HOST if on_the_host else ())}
        broken += [f"{file}: {name}" for name in imported(nodes) if name.split(".")[0] not in allowed]
    return broken


def rooms_import_those_below_them(root: Path) -> list[str]:
    broken = []
    for file, nodes in python_files(root, "safelight"):
        room = Path(file).parts[1].removesuffix(".py")
        allowed = {room, *ROOMS.get(room, ())}
        names = [name for name in imported(nodes) if name.startswith("safelight.")]
        broken += [f"{file}: {name}" for name in names if name.split(".")[1] not in allowed]
    return broken


def no_arrow_runs_up(root: Path) -> list[str]:
    return [
        f"{file}: {name}"
        for folder, above in ABOVE.items()
        for file, nodes in python_files(root, folder)
        for name in imported(nodes)
        if name.split(".")[0] in above
    ]


def safelight_is_imported_by_its_name(root: Path) -> list[str]:
    relative = [
        (file, node)
        for file, nodes in python_files(root, "safelight")
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    return [f"{file}:{node.lineno}" for file, node in relative]


def the_pack_is_not_looked_up_in_sys_modules(root: Path) -> list[str]:
    broken = []
    for file, nodes in python_files(root, "safelight", "nodes", "bench", "demo", "runner"):
        broken += [file for _ in uses(nodes, "modules") if file not in READ_MODULES]
    for file, nodes in python_files(root, "tests"):
        look_ups = [ast.unparse(node) for node in nodes if isinstance(node, ast.Subscript)]
        broken += [f"{file}: {text}" for text in look_ups if text.startswith("sys.modules[") and "safelight" in text]
    return broken


def only_loaders_change_sys_path(root: Path) -> list[str]:
    folders = ("safelight", "nodes", "bench", "demo", "runner", "tests")
    return [file for file, nodes in python_files(root, *folders) for _ in uses(nodes, "path") if file not in SET_PATHS]


def guidance_methods_are_in_their_room(root: Path) -> list[str]:
    """Subclasses of GuidanceMethod, near and far: one in a file, and the file in safelight/guidance."""
    places = [
        (file, name, bases)
        for file, ns in python_files(root, "safelight", "nodes")
        for name, bases in classes(ns).items()
    ]
    methods, before = {"GuidanceMethod"}, 0
    while len(methods) > before:
        before = len(methods)
        methods |= {name for _, name, bases in places if methods.intersection(bases)}
    files = [file for file, name, _ in places if name in methods]
    broken = [f"{file}: two methods" for file in set(files) if files.count(file) > 1]
    return broken + [file for file in files if not file.startswith("safelight/guidance/")]


def a_node_has_a_file_with_its_name(root: Path) -> list[str]:
    """The classes named in nodes/__init__.py: one in a file, `SafelightWeightSchedule` in weight_schedule.py."""
    listed = []
    for node in ast.walk(ast.parse((root / "nodes" / "__init__.py").read_text("utf-8"))):
        if (
            isinstance(node, ast.AnnAssign)
            and ast.unparse(node.target) == "_NODES"
            and isinstance(node.value, ast.List)
        ):
            listed = [ast.unparse(entry.elts[0]) for entry in node.value.elts if isinstance(entry, ast.Tuple)]
    broken, seen = [], set()
    for file, nodes in python_files(root, "nodes"):
        path = Path(file)
        ids = [name for name in classes(nodes) if name.startswith("Safelight")]
        seen.update(ids)
        if path.name in SHARED:
            broken += [f"{file}: {name} among what nodes share" for name in ids]
        elif [name.removeprefix("Safelight").lower() for name in ids] != [path.stem.replace("_", "")]:
            broken.append(f"{file}: {ids}")
    return broken + [f"nodes/__init__.py: {name}" for name in {*listed} ^ seen]


def files_are_short(root: Path) -> list[str]:
    folders = ("safelight", "nodes", "bench", "demo", "runner", "js")
    paths = [path for folder in folders for path in (root / folder).rglob("*") if path.suffix in (".py", ".js", ".css")]
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in paths}
    return [f"{path.relative_to(root)}: {length} lines" for path, length in lengths.items() if length > LONGEST]


def no_minus_sign(root: Path) -> list[str]:
    """U+2212, which checkers of custom nodes take for a slip of the keyboard: "\\N{MINUS SIGN}" where one is meant."""
    paths = [path.relative_to(root) for path in root.rglob("*.py")]
    ours = [path for path in paths if path.parts[0] not in (".hosts", ".venv", "output")]
    return [f"{path}" for path in ours if "\N{MINUS SIGN}" in (root / path).read_text("utf-8")]


def readme_is_short(root: Path) -> list[str]:
    words = len((root / "README.md").read_text("utf-8").split())
    return [f"README.md: {words} words"] if words >= MOST_WORDS else []


RULES = [
    only_engine_and_nodes_import_the_host,
    rooms_import_those_below_them,
    no_arrow_runs_up,
    safelight_is_imported_by_its_name,
    the_pack_is_not_looked_up_in_sys_modules,
    only_loaders_change_sys_path,
    guidance_methods_are_in_their_room,
    a_node_has_a_file_with_its_name,
    files_are_short,
    no_minus_sign,
    readme_is_short,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule):
    assert rule(ROOT) == []


def test_the_rules_look_at_the_repository():
    """In folders that are not there they would find nothing wrong."""
    files = [file for file, _ in python_files(ROOT, "safelight", "nodes", "bench", "demo", "runner", "tests")]
    assert len(files) > 200
    rooms = {path.name for path in (ROOT / "safelight").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms | {"checks"} == set(ROOMS)
    assert all((ROOT / file).is_file() for file in SET_PATHS | READ_MODULES)


@pytest.mark.parametrize(
    ("rule", "file", "text"),
    [
        (only_engine_and_nodes_import_the_host, "safelight/text/a.py", "import comfy.samplers"),
        (
            only_engine_and_nodes_import_the_host,
            "safelight/views/a.py",
            "def f():\n    from folder_paths import models_dir",
        ),
        (only_engine_and_nodes_import_the_host, "safelight/edits/a.py", "x = importlib.import_module('nodes')"),
        (only_engine_and_nodes_import_the_host, "safelight/engine/a.py", "import pandas"),
        (rooms_import_those_below_them, "safelight/guidance/a.py", "from safelight.engine.host import free_cache"),
        (rooms_import_those_below_them, "safelight/guidance/a.py", "from safelight import engine"),
        (rooms_import_those_below_them, "safelight/text/a.py", "import safelight.guidance.blend"),
        (rooms_import_those_below_them, "safelight/checks.py", "from safelight.text import risk"),
        (no_arrow_runs_up, "demo/a.py", "from bench.statistics import difference"),
        (no_arrow_runs_up, "runner/a.py", "import demo.loader"),
        (safelight_is_imported_by_its_name, "safelight/engine/a.py", "from . import host"),
        (safelight_is_imported_by_its_name, "safelight/engine/a.py", "from ..text.risk import DECISION"),
        (the_pack_is_not_looked_up_in_sys_modules, "bench/a.py", "x = sys.modules[name]"),
        (the_pack_is_not_looked_up_in_sys_modules, "demo/a.py", "from sys import modules"),
        (the_pack_is_not_looked_up_in_sys_modules, "tests/host/a.py", "x = sys.modules['safelight_pack.nodes']"),
        (only_loaders_change_sys_path, "bench/a.py", "sys.path.insert(0, '.')"),
        (only_loaders_change_sys_path, "tests/unit/a.py", "from sys import path"),
        (guidance_methods_are_in_their_room, "safelight/engine/a.py", "class A(GuidanceMethod): pass\nclass B: pass"),
        (guidance_methods_are_in_their_room, "nodes/a.py", "class B(A): pass\nclass A(method.GuidanceMethod): pass"),
        (
            guidance_methods_are_in_their_room,
            "safelight/guidance/a.py",
            "class A(GuidanceMethod): ...\nclass B(A): ...",
        ),
        (a_node_has_a_file_with_its_name, "nodes/strip.py", "class SafelightStrip: ...\nclass SafelightMap: ..."),
        (a_node_has_a_file_with_its_name, "nodes/comparing.py", "class SafelightStrip: ..."),
        (a_node_has_a_file_with_its_name, "nodes/bases.py", "class SafelightStrip: ..."),
        (a_node_has_a_file_with_its_name, "nodes/utilities.py", "x = 1"),
        (files_are_short, "js/editor/a.js", "\n" * 401),
        (files_are_short, "bench/a.py", "\n" * 401),
        (no_minus_sign, "tests/a.py", "x = '\N{MINUS SIGN}3'"),
        (readme_is_short, "README.md", "word " * 2000),
    ],
)
def test_a_rule_that_is_broken_is_reported(tmp_path, rule, file, text):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "__init__.py").write_text("_NODES: list[tuple] = [(SafelightMap, 'Safelight Map')]", "utf-8")
    (tmp_path / "nodes" / "map.py").write_text("class SafelightMap: ...", "utf-8")
    (tmp_path / "README.md").write_text("# Safelight", "utf-8")
    assert rule(tmp_path) == []
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text, "utf-8")
    (broken, *_) = rule(tmp_path)
    assert file in broken or "nodes/__init__.py" in broken


def test_a_node_that_the_menu_lacks_is_reported(tmp_path):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "__init__.py").write_text("_NODES: list[tuple] = []", "utf-8")
    (tmp_path / "nodes" / "map.py").write_text("class SafelightMap: ...", "utf-8")
    assert a_node_has_a_file_with_its_name(tmp_path) == ["nodes/__init__.py: SafelightMap"]
