"""Where the steps of a run lie, for the page: the weight curve's editor draws them before anything has run.

The host's own code works out the noise levels, so that every scheduler that it has, or gets from another pack, is drawn
as it will run. A model is known only when it runs; before, the noise schedule of Stable Diffusion stands for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers
import torch

from safelight.engine import host
from safelight.engine.ksampler import cut_short, stock_sampler, whole_run
from safelight.guidance.progress import noise_level_progress, step_progress
from safelight.guidance.schedule import AXES

NOISE_LEVEL, STEPS = AXES
ROUTE = "/safelight/steps"
MOST_STEPS = 1000  # in the whole run; more could not be told apart


@lru_cache(maxsize=1)
def stand_in_model() -> Any:
    """What the host's KSampler asks of a model, with Stable Diffusion's noise schedule."""
    sampling = comfy.model_sampling.ModelSamplingDiscrete()
    return SimpleNamespace(
        load_device=torch.device("cpu"), model_options={}, get_model_object={"model_sampling": sampling}.__getitem__
    )


@lru_cache(maxsize=64)
def steps_of(
    steps: int,
    sampler_name: str,
    scheduler: str,
    denoise: float = 1.0,
    start_at_step: int = 0,
    end_at_step: int = 10000,
    return_with_leftover_noise: str = "disable",
) -> dict[str, Any]:
    """The steps of a run with these inputs of SafelightKSampler or SafelightKSamplerAdvanced.

    Returns {"progress": {axis: [progress in [0, 1] at the start of each step of the whole run]},
    "guarded": {axis: [what safelight.guidance.progress.clamp_start counts in place of them]},
    "from", "to": the steps that this run does, the second not included}.
    Raises ValueError for inputs that the nodes would not take.
    """
    if sampler_name not in comfy.samplers.KSampler.SAMPLERS:
        raise ValueError(f"sampler_name: this ComfyUI has no sampler {sampler_name!r}.")
    if scheduler not in comfy.samplers.KSampler.SCHEDULERS:
        raise ValueError(f"scheduler: this ComfyUI has no scheduler {scheduler!r}.")
    if not 0.0 < denoise <= 1.0:
        raise ValueError(f"denoise: {denoise:g} is not above 0 and at most 1.")
    if steps < 1 or steps / denoise > MOST_STEPS:
        raise ValueError(f"steps: {steps} steps at denoise {denoise:g} are no run of 1 to {MOST_STEPS} steps.")
    model = stand_in_model()
    sigmas = stock_sampler(model, steps, sampler_name, scheduler, denoise).sigmas
    whole = whole_run(model, sigmas, steps, sampler_name, scheduler, denoise)
    first = len(whole) - len(sigmas)
    whole = cut_short(whole, end_at_step, return_with_leftover_noise)
    levels = whole.tolist()
    percent_to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    sampler = comfy.samplers.sampler_object(sampler_name)

    @cache
    def places(sigma: float) -> dict[str, float]:
        return {NOISE_LEVEL: noise_level_progress(sigma, percent_to_sigma), STEPS: step_progress(sigma, levels)}

    def progress(some: list[float]) -> dict[str, list[float]]:
        return {axis: [places(sigma)[axis] for sigma in some] for axis in AXES}

    return {
        "progress": progress(levels[:-1]),
        "guarded": progress(host.step_call_sigmas(sampler, levels)),
        "from": min(max(first, start_at_step), len(levels) - 1),
        "to": min(end_at_step, len(levels) - 1),
    }


def answer(query: Mapping[str, str]) -> dict[str, Any]:
    """steps_of for a request's query; names and defaults are those of the nodes. Raises ValueError."""
    if "steps" not in query or "scheduler" not in query:
        raise ValueError("steps, scheduler: both are needed.")
    return steps_of(
        int(query["steps"]),
        query.get("sampler_name", "euler"),
        query["scheduler"],
        float(query.get("denoise", 1.0)),
        int(query.get("start_at_step", 0)),
        int(query.get("end_at_step", 10000)),
        query.get("return_with_leftover_noise", "disable"),
    )


def serve() -> None:
    """Answers GET /safelight/steps on the server that loads this pack, if one does."""
    server = host.prompt_server()
    if server is None:
        return
    from aiohttp import web

    @server.routes.get(ROUTE)
    async def steps(request: Any) -> Any:
        try:
            # Beside the event loop: a thousand steps take half a second.
            return web.json_response(await asyncio.to_thread(answer, request.query))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
