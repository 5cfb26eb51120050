"""The nodes as a file format: what shared workflows and saved prompts rely on, and what would break them.

A workflow stores node ids, input and output names, and widget values by position. So ids, names, types, the order of
inputs and outputs, defaults and the choices of a list may be appended to, never removed, renamed or reordered.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_name("nodes.json")
RELEASED = RECORD.with_name("released")  # the record as it stood at each release

Node = dict[str, Any]
FILES = "file"  # the input whose choices are the artist's own files
# Options that decide how a stored value is read: which widget an input has, or whether it has one at all.
KEPT_OPTIONS = ("default", "min", "max", "forceInput", "widgetType", "control_after_generate", "multiline")


def describe(node: type, host_choices: list[list[str]]) -> Node:
    """The recorded side of a node class. host_choices: lists that belong to the host (samplers, schedulers)."""
    inputs = []
    for section, declared in node.INPUT_TYPES().items():
        for name, declaration in declared.items() if section != "hidden" else ():
            options = declaration[1] if len(declaration) > 1 else {}
            entry = {"name": name, "section": section, "type": declaration[0]}
            if isinstance(declaration[0], (list, tuple)):
                entry["type"] = "COMBO"
                hosts = name == FILES or list(declaration[0]) in host_choices
                entry["choices"] = "the host's" if hosts else list(declaration[0])
            entry |= {key: options[key] for key in KEPT_OPTIONS if key in options}
            inputs.append(entry)
    names = getattr(node, "RETURN_NAMES", node.RETURN_TYPES)
    outputs = [{"name": name, "type": kind} for name, kind in zip(names, node.RETURN_TYPES, strict=True)]
    return json.loads(json.dumps({"inputs": inputs, "outputs": outputs}))


def breaks(recorded: dict[str, Node], present: dict[str, Node]) -> list[str]:
    """Everything recorded that is gone or different; empty where old workflows still load as they were saved."""
    faults = []
    for node_id, was in recorded.items():
        if node_id not in present:
            faults.append(f"{node_id}: the node is gone")
            continue
        for kind in ("inputs", "outputs"):
            now = present[node_id][kind]
            for position, old in enumerate(was[kind]):
                where = f"{node_id}: {kind[:-1]} {position + 1}, {old['name']}"
                if position >= len(now):
                    faults.append(f"{where}: is gone")
                    continue
                new = now[position]
                if new["name"] != old["name"]:
                    faults.append(f"{where}: its place is taken by {new['name']}")
                    continue
                faults += [f"{where}: {fault}" for fault in _changes(old, new)]
    return faults


def _changes(old: Node, new: Node) -> list[str]:
    changes = []
    for key in sorted({*old, *new} - {"choices"}):
        if old.get(key) != new.get(key):
            changes.append(f"{key} was {old.get(key)!r}, is {new.get(key)!r}")
    was, now = old.get("choices"), new.get("choices")
    if was != now and not (isinstance(was, list) and isinstance(now, list) and now[: len(was)] == was):
        changes.append(f"choices were {was}, are {now}")
    return changes


def unrecorded(recorded: dict[str, Node], present: dict[str, Node]) -> list[str]:
    """What is new since the record, given that nothing recorded has changed."""
    return [node_id for node_id, now in present.items() if recorded.get(node_id) != now]


def load() -> dict[str, Node]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def save(nodes: dict[str, Node]) -> None:
    """One line for each input and output, so that a change shows as one line in a diff."""
    blocks = []
    for node_id, node in sorted(nodes.items()):
        kinds = []
        for kind in ("inputs", "outputs"):
            lines = ",\n".join(f"      {json.dumps(entry)}" for entry in node[kind])
            kinds.append(f'    "{kind}": [\n{lines}\n    ]')
        blocks.append(f'  "{node_id}": {{\n' + ",\n".join(kinds) + "\n  }")
    RECORD.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")
