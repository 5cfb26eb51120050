"""Programs that turn a saved workflow into a prompt, from the package index: all give the prompt that the page gives.

The browser suite compares the page's own with that of runner/workflow.py, as this does.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest

from runner import workflow

from .run_fakes import ROOT

INFO = workflow.load(ROOT / "tests" / "browser" / "object_info.json")
FILES = sorted((ROOT / "workflows").glob("*.json"))
CURVE = '{"points":[[0,0.25],[1,0.75]],"interpolation":"step"}'


def installed(module):
    return pytest.importorskip(module, reason=f"no {module.split('.')[0]}; run.py test installs it")


def specs(class_type):
    """{input: declaration} of a node."""
    sections = INFO[class_type]["input"]
    return {**sections.get("required", {}), **sections.get("optional", {})}


def other(value, choices):
    """Another value than a widget has, of its kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1 if isinstance(value, int) else value / 2
    if "points" in value:
        return CURVE
    return next((some[some.index(value) - 1] for some in choices if value in some), value)


def page_of(file, change):
    page = workflow.load(file)
    for node in page["nodes"]:
        if node["type"] == "CheckpointLoaderSimple":  # without a value: the page puts the first one in, converters none
            node.setdefault("widgets_values", ["a.safetensors"])
        if change and node["type"].startswith("Safelight"):
            choices = [spec[0] for spec in specs(node["type"]).values() if isinstance(spec[0], list)]
            node["widgets_values"] = [other(value, choices) for value in node.get("widgets_values", ())]
    return page


@pytest.fixture(params=[False, True], ids=["as saved", "other values"])
def change(request):
    return request.param


@pytest.fixture(params=FILES, ids=[file.stem for file in FILES])
def expected(request, change):
    """(workflow, its prompt)."""
    page = page_of(request.param, change)
    return page, workflow.to_prompt(page_of(request.param, change), INFO)


def plain(prompt):
    """The nodes' classes and inputs, without the sockets (risk, caption) whose default some converters send where they
    are not linked."""
    nodes = {}
    for number, node in prompt.items():
        declared = {name: spec[1] for name, spec in specs(node["class_type"]).items() if len(spec) > 1}
        sockets = {name: how.get("default") for name, how in declared.items() if how.get("forceInput")}
        inputs = {n: value for n, value in node["inputs"].items() if n not in sockets or value != sockets[n]}
        nodes[number] = (node["class_type"], inputs)
    return nodes


def test_comfy_cli(expected):
    page, prompt = expected
    convert = installed("comfy_cli.workflow_to_api").convert_ui_to_api
    assert plain(convert(page, INFO)) == plain(prompt)


@pytest.fixture(scope="module")
def comfy_test():
    """Its converter, a copy of SethRobinson's endpoint, by its file: the package wants much that converting doesn't."""
    package = importlib.util.find_spec("comfy_test")
    if package is None:
        pytest.skip("no comfy_test; run.py test installs it")
    file = Path(package.submodule_search_locations[0]) / "comfyui" / "workflow_converter.py"
    spec = importlib.util.spec_from_file_location("workflow_converter", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.set_object_info(INFO)
    return module.WorkflowConverter


def test_comfy_test(expected, comfy_test):
    page, prompt = expected
    assert plain(comfy_test.convert_to_api(page)) == plain(prompt)


def test_comfy_script(expected, monkeypatch):
    """It makes a program of a workflow, a call for each node, with the inputs in their declared order."""
    transpile = installed("comfy_script.transpile")
    monkeypatch.setattr(transpile.client, "get_nodes_info", lambda: INFO)
    page, prompt = expected
    page["nodes"] = [node for node in page["nodes"] if node["type"] != "MarkdownNote"]  # of notes it knows Note alone
    program = transpile.WorkflowToScriptTranspiler(json.dumps(page)).to_script()
    calls = []
    for node in ast.walk(ast.parse(program.replace("\n# _", "\n_"))):  # nodes that give nothing on are comments
        if isinstance(node, ast.Call) and node.func.id.startswith("Safelight"):
            given = zip(specs(node.func.id), node.args, strict=False)
            values = {name: a.value for name, a in given if isinstance(a, ast.Constant) and a.value is not None}
            calls.append([node.func.id, values])
    sent = [
        [node["class_type"], {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}]
        for node in prompt.values()
        if node["class_type"].startswith("Safelight")
    ]
    assert sorted(calls, key=str) == sorted(sent, key=str)
