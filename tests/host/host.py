"""The host under test: its nodes under the names each version has for them, and what it can do.

Import this after `loading.load_host` (conftest does it).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import comfy.samplers
import pytest
import torch

try:
    base_nodes: ModuleType = importlib.import_module("comfy.nodes.base_nodes")  # the package index build
    IS_INDEX_BUILD = True
except ModuleNotFoundError:
    base_nodes = importlib.import_module("nodes")
    IS_INDEX_BUILD = False
VERSION = "index build" if IS_INDEX_BUILD else importlib.import_module("comfyui_version").__version__

SAMPLERS: list[str] = list(comfy.samplers.KSampler.SAMPLERS)
SCHEDULERS: list[str] = list(comfy.samplers.KSampler.SCHEDULERS)


def extra(name: str) -> ModuleType | None:
    """The host's comfy_extras module of that name, e.g. "nodes_pag"; None where the host has none."""
    try:
        return importlib.import_module(f"comfy_extras.{'nodes.' if IS_INDEX_BUILD else ''}{name}")
    except ModuleNotFoundError as error:
        if name in str(error):
            return None
        raise


def require(condition: Any, what: str) -> None:
    """Skips the running test where the host lacks `what`; on the index build not_on_index.txt has to list it."""
    if not condition:
        pytest.skip(f"this ComfyUI ({VERSION}) has no {what}")


def extra_node(module: str, name: str) -> type:
    """A node class of comfy_extras, or a skip."""
    found = extra(module)
    require(found is not None and hasattr(found, name), name)
    return getattr(found, name)


def has_wrappers() -> bool:
    """Whether a MODEL can carry wrappers, which SafelightModelPatch needs."""
    return importlib.util.find_spec("comfy.patcher_extension") is not None


def call(node: type, **inputs: Any) -> tuple:
    """Runs a node as the executor does and returns its outputs, whichever form the node and its result have."""
    outcome = getattr(node(), node.FUNCTION)(**inputs)
    if isinstance(outcome, dict):
        outcome = outcome["result"]
    return tuple(getattr(outcome, "result", outcome))


class AnyType(str):
    """The type of a switch's output, which packs let pass for every other one."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class Switch:
    """A node of another pack through which an input can be linked."""

    RETURN_TYPES = (AnyType("*"),)
    FUNCTION = "switch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {}}


LINK = ["switch", 0]  # in a prompt, an input that is linked to a Switch


def validation_errors(node: type, **inputs: Any) -> list[tuple[str, str]]:
    """What the host says against a node with these inputs before anything runs: (input, text). LINK: a linked one."""
    execution = importlib.import_module("comfy.cmd.execution" if IS_INDEX_BUILD else "execution")
    prompt = {"node": {"class_type": "Node", "inputs": inputs}, "switch": {"class_type": "Switch", "inputs": {}}}
    given = [prompt, "node", {}]
    if inspect.iscoroutinefunction(execution.validate_inputs):
        given.insert(0, "prompt")
    known = SimpleNamespace(NODE_CLASS_MAPPINGS={"Node": node, "Switch": Switch})
    with mock.patch.object(execution, "nodes", known):
        outcome = execution.validate_inputs(*given)
        errors = (asyncio.run(outcome) if inspect.iscoroutine(outcome) else outcome)[1]
    return [(error["extra_info"]["input_name"], f"{error['message']}: {error['details']}") for error in errors]


@dataclass
class Rows:
    """What the diffusion model was asked: one entry a call."""

    rows: list[int] = field(default_factory=list)
    cond_or_uncond: list[list[int]] = field(default_factory=list)
    sigmas: list[float] = field(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self.rows)


@contextlib.contextmanager
def count_rows(model: Any, method: str = "forward") -> Iterator[Rows]:
    """Counts the rows of every call of the diffusion model's forward while open.

    method: "_forward" is what wrappers of the diffusion model, such as step caches, may leave out.
    """
    network = model.model.diffusion_model
    forward, kept = getattr(network, method), vars(network).get(method)
    seen = Rows()

    def counted(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        options = kwargs.get("transformer_options", {})
        seen.rows.append(x.shape[0])
        seen.cond_or_uncond.append(list(options.get("cond_or_uncond", [])))
        if "sigmas" in options:
            seen.sigmas.append(float(options["sigmas"][0]))
        return forward(x, *args, **kwargs)

    counted.by_row = True  # type: ignore[attr-defined]  # it remembers nothing that changes an answer
    setattr(network, method, counted)
    try:
        yield seen
    finally:
        if kept is None:
            delattr(network, method)
        else:
            setattr(network, method, kept)


def stock(model: Any, positive: list, negative: list, latent_image: dict, **settings: Any) -> torch.Tensor:
    """The stock KSampler's latent."""
    settings = {**SETTINGS, **settings}
    return call(
        base_nodes.KSampler, model=model, positive=positive, negative=negative, latent_image=latent_image, **settings
    )[0]["samples"]


def stock_advanced(model: Any, positive: list, negative: list, latent_image: dict, **settings: Any) -> torch.Tensor:
    """The stock KSamplerAdvanced's latent."""
    settings = {**ADVANCED, **settings}
    return call(
        base_nodes.KSamplerAdvanced,
        model=model,
        positive=positive,
        negative=negative,
        latent_image=latent_image,
        **settings,
    )[0]["samples"]


SETTINGS = {"seed": 7, "steps": 6, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
ADVANCED = {
    "add_noise": "enable",
    "noise_seed": 7,
    "steps": 20,
    "cfg": 5.0,
    "sampler_name": "euler",
    "scheduler": "normal",
    "start_at_step": 0,
    "end_at_step": 10000,
    "return_with_leftover_noise": "disable",
}


def sigmas_of(model: Any, **settings: Any) -> torch.Tensor:
    """The noise levels that a KSampler with these settings goes through."""
    settings = {**SETTINGS, **settings}
    sampler = comfy.samplers.KSampler(
        model,
        steps=settings["steps"],
        device=torch.device("cpu"),
        sampler=settings["sampler_name"],
        scheduler=settings["scheduler"],
        denoise=settings["denoise"],
        model_options=model.model_options,
    )
    return sampler.sigmas


def accepts(function: Any, name: str) -> bool:
    """Whether a host function has a parameter of that name."""
    return name in inspect.signature(function).parameters
