"""The methods as workflows: for one prompt, one seed and one method, what is sent to ComfyUI's HTTP API.

They are in workflows.json, with a $name for each value that is filled in; what is None, such as concepts that nobody
named, is left to the node's default (SLD's safety concept). All methods share one skeleton (SamplerCustomAdvanced on
the same noise and the same sigmas); only the guider differs.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.messages import Failure
from safelight.text.concepts import DEFAULT_CONCEPTS, split_concepts

from .prompts import Prompt

WORKFLOWS = json.loads(Path(__file__).with_name("workflows.json").read_text("utf-8"))
PLAIN, NEGATIVE = "plain", "negative prompt"
# Each way of the dual methods, by its encoding. selective: only where the two predictions disagree.
DUAL = {"project": "project", "subtract": "subtract", "selective": "project"}
FIXED = (
    *(PLAIN, NEGATIVE, "SLD weak", "SLD medium", "SLD strong", "SLD max"),
    *("CASG", "SAFREE as released", "SAFREE as printed", "TraSCE"),
)
ALL = (*FIXED, *(f"dual {way} {level:g}" for way in DUAL for level in (0.25, 0.5, 0.75, 1.0)))
DEFAULT = (
    *(PLAIN, NEGATIVE, "dual project 0.5", "dual project 1", "dual subtract 1", "dual selective 1"),
    *("SLD medium", "SLD strong", "SLD max", "SAFREE as released", "CASG", "TraSCE"),
)
PICTURE = "picture"  # the number of the node whose output is the result
_DUAL = re.compile(rf"dual ({'|'.join(DUAL)}) (0?\.\d+|[01](?:\.0*)?)")

Graph = dict[str, dict[str, Any]]
Settings = dict[str, Any]  # what all pictures of a run share, by the names in workflows.json


def concepts_of(text: str) -> tuple[str, str]:
    """--concepts as `concepts` and `categories`: semicolons part CASG's categories, else every phrase is one."""
    groups = [", ".join(split_concepts(group)) for group in text.split(";")] if ";" in text else split_concepts(text)
    groups = [group for group in groups if group]
    if not groups:
        raise Failure("--concepts: it names nothing", "say what is unsafe, as words separated by commas")
    return ", ".join(groups), "\n".join(groups)


def check_method(name: str) -> str:
    """The method's name in its one spelling. Raises Failure where there is no such method."""
    if dual := _DUAL.fullmatch(name):
        return f"dual {dual[1]} {float(dual[2]):g}"
    if name not in FIXED:
        choices = f"{', '.join(FIXED)}, and dual {'|'.join(DUAL)} LEVEL with a LEVEL from 0 to 1"
        raise Failure(f"--methods: there is no {name!r}", f"choose from {choices}")
    return name


def graph(method: str, prompt: Prompt, image: int, settings: Settings) -> Graph:
    """The workflow of picture number `image` (from 0) of a prompt: its seed is the prompt's plus that number.

    Nodes that differ have different numbers in every method: the oldest host takes a node of the last prompt with equal
    number and inputs for this one.
    """
    values = {**asdict(prompt), **settings, "seed": (prompt.seed + image) % 2**64, "choice": method.partition(" ")[2]}
    # ComfyUI has to take a list's prompt at its word: parentheses would be read as weights.
    values["prompt"] = re.sub(r"([()])", r"\\\1", prompt.text)
    values["concepts or default"] = settings["concepts"] or DEFAULT_CONCEPTS
    values["guider"] = f"guider_{re.sub('[^a-z0-9]+', '_', method.lower())}"
    if dual := _DUAL.fullmatch(method):
        encode = DUAL[dual[1]]
        values |= {"level": float(dual[2]), "encode": encode, "context": f"context_{encode}"}
    nodes: Graph = {}
    for part in ("every method", "" if settings["checkpoint"] else "demo model", *method.split()):
        for number, node in WORKFLOWS.get(part, {}).items():
            nodes[number] = {**node, "inputs": {**nodes.get(number, {}).get("inputs", {}), **node["inputs"]}}
    return _filled(nodes, values)


def _filled(part: Any, values: dict[str, Any]) -> Any:
    """Every $name replaced by its value; what has none is left out."""
    if isinstance(part, dict):
        filled = {_filled(name, values): _filled(value, values) for name, value in part.items()}
        return {name: value for name, value in filled.items() if value is not None}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    return values[part[1:]] if isinstance(part, str) and part.startswith("$") else part


def key_of(graph: Graph, fingerprint: str) -> str:
    """What a picture is known by: a hash of what it is made of. fingerprint: of the pack's code, where it is used."""
    ours = any(node["class_type"].startswith("Safelight") for node in graph.values())
    text = json.dumps([graph, fingerprint if ours else ""], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
