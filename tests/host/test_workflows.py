"""The example workflows against the nodes of this host: every value lands on the widget that it was saved for."""

from __future__ import annotations

import importlib
import json

import host
import loading
import pytest

loading.load_file("runner", loading.ROOT / "runner" / "__init__.py", package=True)
workflow = importlib.import_module("runner.workflow")

FILES = sorted((loading.ROOT / "workflows").glob("*.json"))


@pytest.fixture(scope="module")
def classes(pack):
    return {**host.base_nodes.NODE_CLASS_MAPPINGS, **pack.nodes}


def fits(value, spec) -> bool:
    """Whether a value is one that the widget of this declaration can hold."""
    type_, options = spec[0], spec[1] if len(spec) > 1 else {}
    if isinstance(type_, list):
        return value in type_
    if type_ in ("INT", "FLOAT"):
        number = int if type_ == "INT" else (int, float)
        return isinstance(value, number) and options.get("min", value) <= value <= options.get("max", value)
    return isinstance(value, {"STRING": str, "BOOLEAN": bool}.get(type_, object))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_workflow_fits_the_nodes(file, classes):
    page = workflow.load(file)
    types = {node["type"] for node in page["nodes"]} - set(workflow.NOTES)
    info = {name: {"input": json.loads(json.dumps(classes[name].INPUT_TYPES()))} for name in types}
    prompt = workflow.to_prompt(page, info)
    for node in prompt.values():
        inputs = info[node["class_type"]]["input"]
        declared = {**inputs["required"], **inputs.get("optional", {})}
        for name, value in node["inputs"].items():
            if not (isinstance(value, list) and value[0] in prompt):
                assert fits(value, declared[name]), f"{node['class_type']}.{name} = {value!r}"


def test_there_are_workflows():
    assert "safelight_text_to_image" in [file.stem for file in FILES]
