"""The methods as workflows: for one prompt, one seed and one method, what is sent to ComfyUI's HTTP API.

All methods share one skeleton (SamplerCustomAdvanced on the same noise and the same sigmas); only the guider differs.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from runner.messages import Failure
from safelight.text.concepts import DEFAULT_CONCEPTS, split_concepts

from .prompts import Prompt

PLAIN, NEGATIVE = "plain", "negative prompt"
DUAL = ("project", "subtract", "selective")  # selective: project, and only where the two predictions disagree
OTHERS = (
    *(f"SLD {preset}" for preset in ("weak", "medium", "strong", "max")),
    *("CASG", "SAFREE as released", "SAFREE as printed", "TraSCE"),
)
FIXED = (PLAIN, NEGATIVE, *OTHERS)
ALL = (PLAIN, NEGATIVE, *(f"dual {way} {level:g}" for way in DUAL for level in (0.25, 0.5, 0.75, 1.0)), *OTHERS)
DEFAULT = (
    *(PLAIN, NEGATIVE, "dual project 0.5", "dual project 1", "dual subtract 1", "dual selective 1"),
    *("SLD medium", "SLD strong", "SLD max", "SAFREE as released", "CASG", "TraSCE"),
)
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
    dual = _DUAL.fullmatch(name)
    if dual and 0.0 <= float(dual[2]) <= 1.0:
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
    loader = _node("SafelightDemoLoader")
    if settings.checkpoint is not None:
        loader = _node("CheckpointLoaderSimple", ckpt_name=settings.checkpoint)
    guider = f"guider_{re.sub('[^a-z0-9]+', '_', method.lower())}"
    model, scheduler, steps = ["model", 0], settings.scheduler, settings.steps
    run = {name: [name, 0] for name in ("noise", "sampler", "sigmas")}
    return {
        "model": loader,
        "positive": _text(literal(prompt.text)),
        "negative": _text(settings.negative),
        "latent": _node("EmptyLatentImage", width=prompt.width, height=prompt.height, batch_size=1),
        "noise": _node("RandomNoise", noise_seed=(prompt.seed + image) % 2**64),
        "sampler": _node("KSamplerSelect", sampler_name=settings.sampler),
        "sigmas": _node("BasicScheduler", model=model, scheduler=scheduler, steps=steps, denoise=1.0),
        **_guider(guider, method, prompt, settings),
        "run": _node("SamplerCustomAdvanced", **run, guider=[guider, 0], latent_image=["latent", 0]),
        "pixels": _node("VAEDecode", samples=["run", 0], vae=["model", 2]),
        PICTURE: _node("PreviewImage", images=["pixels", 0]),
    }


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


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _text(text: str) -> dict[str, Any]:
    return _node("CLIPTextEncode", clip=["model", 1], text=text)


def _guider(number: str, method: str, prompt: Prompt, settings: Settings) -> Graph:
    """The guider's node under its number, and further nodes that it needs."""
    inputs = {"model": ["model", 0], "positive": ["positive", 0], "negative": ["negative", 0], "cfg": prompt.guidance}
    clip, text, more = ["model", 1], literal(prompt.text), {}
    concept = {"concept": settings.concepts} if settings.concepts else {}
    concepts = {"concepts": settings.concepts} if settings.concepts else {}
    name, _, choice = method.partition(" ")
    dual = _DUAL.fullmatch(method)
    if method == PLAIN:
        kind = "CFGGuider"
    elif method == NEGATIVE:
        kind, inputs["negative"] = "CFGGuider", ["negative_concepts", 0]
        words = [settings.negative, settings.concepts or DEFAULT_CONCEPTS]
        more["negative_concepts"] = _text(", ".join(filter(None, words)))
    elif dual:
        way, kind = dual[1], "SafelightGuider"
        encode = "project" if way == "selective" else way
        context = f"context_{encode}"
        more[context] = _node("SafelightContextEncode", clip=clip, prompt=text, method=encode, **concepts)
        more["schedule"] = _node("SafelightWeightSchedule", preset=settings.schedule, context=0.2, axis="noise level")
        inputs |= {"positive": [context, 0], "safe": [context, 1], "risk": [context, 2], "safety": float(dual[2])}
        inputs |= {"gate": settings.gate, "schedule": ["schedule", 0]}
        if way == "selective":  # the node's own defaults; they have to be written out, being required
            defaults = {"quantile": 0.9, "threshold": 2.0, "smooth": 1, "grow": 0, "adaptive": False}
            more["selective"] = _node("SafelightSelective", mode="soft threshold", **defaults)
            inputs["selective"] = ["selective", 0]
    else:
        kind, inputs["clip"] = f"Safelight{name}Guider", clip
        inputs |= {
            "SLD": {**concept, "preset": choice},
            "CASG": {"categories": settings.categories} if settings.categories else {},
            "TraSCE": concept,
            "SAFREE": {**concepts, "prompt": text, "variant": choice},
        }[name]
    return {**more, number: _node(kind, **inputs)}
