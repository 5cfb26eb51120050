"""From a workflow as the page saves it (nodes, links, positional widget values) to what POST /prompt takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

NOTES = ("Note", "MarkdownNote")
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")
# Where it was, and where the widget behind the seed was.
_SLIDERS = {"SafelightKSampler": (7, 1), "SafelightKSamplerAdvanced": (10, 2), "SafelightStrip": (7, 1)}


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def _inputs(info: Mapping[str, Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """A node's inputs in the order of its widgets: name, type, options."""
    for kind in ("required", "optional"):
        for name, spec in (info["input"].get(kind) or {}).items():
            yield name, spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def _is_widget(type_: Any, options: Mapping[str, Any]) -> bool:
    if options.get("forceInput"):
        return False
    return isinstance(type_, list) or type_ in WIDGET_TYPES or "widgetType" in options


def _slider_first(kind: str, values: list[Any]) -> list[Any]:
    """As js/earlier.js: in earlier files the samplers' slider stood behind the stock widgets."""
    slider, control = _SLIDERS.get(kind, (0, 0))
    if control < len(values) and values[control] in SEED_CONTROLS:
        return [*values[slider : slider + 1], *values[:slider], *values[slider + 1 :]]
    return values


def _widget_values(node: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a node's widgets by name. Values may end early: inputs were added since the file was saved."""
    values = _slider_first(node["type"], list(node.get("widgets_values") or ()))
    named: dict[str, Any] = {}
    for name, type_, options in _inputs(info):
        if not values:
            break
        if not _is_widget(type_, options):
            continue
        named[name] = values.pop(0)
        if type_ == "STRING" and isinstance(named[name], dict):  # a curve of an earlier form; the page does the same
            named[name] = json.dumps(named[name], separators=(",", ":"))
        # The page puts a widget of its own behind a seed: what happens to it after a run.
        seed = options.get("control_after_generate") or name in ("seed", "noise_seed")
        if type_ == "INT" and seed and values and values[0] in SEED_CONTROLS:
            values.pop(0)
    if values:
        raise ValueError(f"{node['type']} (node {node['id']}) has values beyond its widgets: {values}")
    return named


def _first_choices(info: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a node's required lists as it is made."""
    lists = {name: spec[0] for name, spec in (info["input"].get("required") or {}).items()}
    return {name: next(iter(choices), "") for name, choices in lists.items() if isinstance(choices, list)}


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Converts a workflow into the API format by what the running host says of its nodes.

    A list without a value has its first choice, as on the page; "" where it offers nothing.

    Raises ValueError for node types the host does not have, muted or bypassed nodes, widget values beyond the
    widgets, and required inputs without link or value.
    """
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES:
            continue
        label = f"{node['type']} (node {node['id']})"
        if node["type"] not in object_info:
            raise ValueError(f"this ComfyUI has no node {label}")
        if node.get("mode", 0) != 0:
            raise ValueError(f"{label} is muted or bypassed, which this conversion does not handle")
        info = object_info[node["type"]]
        inputs = {**_first_choices(info), **_widget_values(node, info)}
        for socket in node.get("inputs") or ():
            if socket.get("link") is not None:
                inputs[socket["name"]] = sources[socket["link"]]
        missing = [name for name in info["input"].get("required") or {} if name not in inputs]
        if missing:
            raise ValueError(f"{label} has neither a link nor a value for {', '.join(missing)}")
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def with_inputs(prompt: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A copy of a prompt with widget inputs set, named by node class: {"SafelightKSampler": {"safety": 1.0}}."""
    changed = json.loads(json.dumps(prompt))
    for class_type, inputs in changes.items():
        nodes = [node for node in changed.values() if node["class_type"] == class_type]
        if len(nodes) != 1:
            raise ValueError(f"the workflow has {len(nodes)} nodes of the class {class_type}; one is needed")
        for name, value in inputs.items():
            if isinstance(nodes[0]["inputs"].get(name), list):
                raise ValueError(f"{class_type}.{name} comes from a link in the workflow")
            nodes[0]["inputs"][name] = value
    return changed
