"""The methods as workflows: for one prompt, one seed and one method, what is sent to ComfyUI's HTTP API.

All methods share one skeleton (SamplerCustomAdvanced on the same noise and the same noise levels); only the guider
differs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.messages import Failure
from safelight.text.concepts import DEFAULT_CONCEPTS, split_concepts

from .prompts import Prompt

PLAIN, NEGATIVE = "plain", "negative prompt"
SLD_PRESETS = ("weak", "medium", "strong", "max")
SAFREE_VARIANTS = ("as released", "as printed")
LEVELS = (0.25, 0.5, 0.75, 1.0)
DUAL = ("project", "subtract", "selective")  # selective: project, and only where the two prompts disagree
OTHERS = (*(f"SLD {p}" for p in SLD_PRESETS), "CASG", *(f"SAFREE {v}" for v in SAFREE_VARIANTS), "TraSCE")
FIXED = (PLAIN, NEGATIVE, *OTHERS)
DEFAULT = (PLAIN, NEGATIVE, "dual project 0.5", "dual project 1", "dual subtract 1", "dual selective 1", "SLD medium",
           "SLD strong", "SLD max", "SAFREE as released", "CASG", "TraSCE")  # fmt: skip
ALL = (PLAIN, NEGATIVE, *(f"dual {way} {level:g}" for way in DUAL for level in LEVELS), *OTHERS)
PICTURE = "picture"  # the number of the node whose output is the result
_DUAL = re.compile(rf"dual ({'|'.join(DUAL)}) (\d*\.?\d+)")

Graph = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Settings:
    """What all pictures of a run share. checkpoint: its name on the server; None stands for the demo model.

    concepts: what is unsafe, as one text; categories: the same, one of CASG's categories a line. None for both: each
    node's own default, which is SLD's safety concept.
    """

    checkpoint: str | None = None
    steps: int = 30
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"
    negative: str = ""
    gate: float = 0.5
    schedule: str = "balanced"
    concepts: str | None = None
    categories: str | None = None


def concepts_of(text: str) -> tuple[str, str]:
    """--concepts as `concepts` and `categories`: semicolons part CASG's categories, else every phrase is one."""
    groups = [", ".join(split_concepts(group)) for group in text.split(";")] if ";" in text else split_concepts(text)
    groups = [group for group in groups if group]
    if not groups:
        raise Failure("--concepts: it names nothing", "say what is unsafe, as words separated by commas")
    return ", ".join(groups), "\n".join(groups)


def check_method(name: str) -> str:
    """The method's name in its one spelling. Raises Failure where there is no such method."""
    found = _DUAL.fullmatch(name)
    if found and 0.0 <= float(found[2]) <= 1.0:
        return f"dual {found[1]} {float(found[2]):g}"
    if name not in FIXED:
        raise Failure(
            f"--methods: there is no {name!r}",
            f"choose from {', '.join(FIXED)}, and dual {'|'.join(DUAL)} LEVEL with a LEVEL from 0 to 1",
        )
    return name


def graph(method: str, prompt: Prompt, image: int, settings: Settings) -> Graph:
    """The workflow of picture number `image` (from 0) of a prompt: its seed is the prompt's plus that number.

    Nodes that differ have different numbers in every method: the oldest host takes a node of the last prompt with equal
    number and inputs for this one.
    """
    loader = (
        {"class_type": "SafelightDemoLoader", "inputs": {}}
        if settings.checkpoint is None
        else {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": settings.checkpoint}}
    )
    nodes = {
        "model": loader,
        "positive": _text(literal(prompt.text)),
        "negative": _text(settings.negative),
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": prompt.width, "height": prompt.height,
                                                                "batch_size": 1}},
        "noise": {"class_type": "RandomNoise", "inputs": {"noise_seed": (prompt.seed + image) % 2**64}},
        "sampler": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": settings.sampler}},
        "sigmas": {"class_type": "BasicScheduler", "inputs": {"model": ["model", 0], "scheduler": settings.scheduler,
                                                              "steps": settings.steps, "denoise": 1.0}},
    }  # fmt: skip
    guider, more = _guider(method, prompt, settings)
    name = f"guider_{re.sub('[^a-z0-9]+', '_', method.lower())}"
    nodes |= more
    nodes[name] = guider
    nodes |= {
        "run": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["noise", 0], "guider": [name, 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0],
            "latent_image": ["latent", 0]}},
        "pixels": {"class_type": "VAEDecode", "inputs": {"samples": ["run", 0], "vae": ["model", 2]}},
        PICTURE: {"class_type": "PreviewImage", "inputs": {"images": ["pixels", 0]}},
    }  # fmt: skip
    return _needed(nodes)


def key_of(graph: Graph, fingerprint: str) -> str:
    """What a picture is known by: a hash of what it is made of. fingerprint: of the pack's code, where it is used."""
    ours = any(node["class_type"].startswith("Safelight") for node in graph.values())
    text = json.dumps([graph, fingerprint if ours else ""], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def node_types(methods: list[str], prompt: Prompt, settings: Settings) -> set[str]:
    """The node types that these methods need on the server."""
    return {node["class_type"] for method in methods for node in graph(method, prompt, 0, settings).values()}


def literal(text: str) -> str:
    """A prompt of a list as ComfyUI takes it at its word: parentheses would be read as weights."""
    return re.sub(r"([()])", r"\\\1", text)


def _text(text: str) -> dict[str, Any]:
    return {"class_type": "CLIPTextEncode", "inputs": {"clip": ["model", 1], "text": text}}


def _guider(method: str, prompt: Prompt, settings: Settings) -> tuple[dict[str, Any], Graph]:
    """The guider's node, and further nodes that it needs."""
    links = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "cfg": prompt.guidance}
    reads = {**links, "clip": ["model", 1]}
    concept = {"concept": settings.concepts} if settings.concepts else {}
    concepts = {"concepts": settings.concepts} if settings.concepts else {}
    if method == PLAIN:
        return {"class_type": "CFGGuider", "inputs": links}, {}
    if method == NEGATIVE:
        unsafe = settings.concepts or DEFAULT_CONCEPTS
        text = f"{settings.negative}, {unsafe}" if settings.negative else unsafe
        taking = {**links, "negative": ["negative_concepts", 0]}
        return {"class_type": "CFGGuider", "inputs": taking}, {"negative_concepts": _text(text)}
    if dual := _DUAL.fullmatch(method):
        return _dual(dual[1], float(dual[2]), prompt, settings, links, concepts)
    name, _, choice = method.partition(" ")
    of_name: dict[str, Callable[[], dict[str, Any]]] = {
        "SLD": lambda: {**reads, **concept, "preset": choice},
        "CASG": lambda: {**reads, **({"categories": settings.categories} if settings.categories else {})},
        "TraSCE": lambda: {**reads, **concept},
        "SAFREE": lambda: {**reads, **concepts, "prompt": literal(prompt.text), "variant": choice},
    }
    return {"class_type": f"Safelight{name}Guider", "inputs": of_name[name]()}, {}


def _dual(
    way: str, level: float, prompt: Prompt, settings: Settings, links: dict[str, Any], concepts: dict[str, Any]
) -> tuple[dict[str, Any], Graph]:
    method = "project" if way == "selective" else way
    context = f"context_{method}"
    nodes: Graph = {
        context: {"class_type": "SafelightContextEncode", "inputs": {
            "clip": ["model", 1], "prompt": literal(prompt.text), "method": method, **concepts}},
        "schedule": {"class_type": "SafelightWeightSchedule", "inputs": {
            "preset": settings.schedule, "context": 0.2, "axis": "noise level"}},
    }  # fmt: skip
    inputs = {**links, "positive": [context, 0], "safe": [context, 1], "risk": [context, 2], "safety": level,
              "gate": settings.gate, "schedule": ["schedule", 0]}  # fmt: skip
    if way == "selective":
        # The node's own defaults; they have to be written out, being required.
        nodes["selective"] = {
            "class_type": "SafelightSelective",
            "inputs": {
                "mode": "soft threshold",
                "quantile": 0.9,
                "threshold": 2.0,
                "smooth": 1,
                "grow": 0,
                "adaptive": False,
            },
        }
        inputs["selective"] = ["selective", 0]
    return {"class_type": "SafelightGuider", "inputs": inputs}, nodes


def _needed(nodes: Graph) -> Graph:
    """The nodes that the picture depends on."""
    wanted, kept = [PICTURE], {}
    while wanted:
        number = wanted.pop()
        if number not in kept:
            kept[number] = nodes[number]
            wanted += [value[0] for value in nodes[number]["inputs"].values() if isinstance(value, list)]
    return kept
