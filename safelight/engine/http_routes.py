"""Where the steps of a run lie, for the page: the weight curve's editor draws them before anything has run.

The host works out the sigmas, so that every scheduler, also one from another pack, is drawn as it will run. The model
is known only when it runs; until then Stable Diffusion's noise schedule is used in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypedDict

import comfy.model_sampling
import comfy.samplers
import torch

from safelight.checks import shortened
from safelight.engine import host
from safelight.engine.ksampler import cut_short, stock_sampler, whole_run
from safelight.engine.page_server import serve_page
from safelight.guidance.progress import noise_level_progress, step_progress
from safelight.guidance.schedule import AXES

if TYPE_CHECKING:
    from aiohttp import web

NOISE_LEVEL, STEPS = AXES
ROUTE = "/safelight/steps"
MOST_STEPS = 1000  # in the whole run; more would be drawn on the same pixels

ByAxis = dict[str, list[float]]


# The answer of the route, one key of which is a Python keyword.
#   progress: by axis, the progress in [0, 1] at the start of each step of the whole run
#   guarded: by axis, the progress that safelight.guidance.progress.clamp_start counts in place of those
#   from, to: the steps that this run does, the second not included
Steps = TypedDict("Steps", {"progress": ByAxis, "guarded": ByAxis, "from": int, "to": int})


@lru_cache(maxsize=1)
def stand_in_model() -> SimpleNamespace:
    """The part of a ModelPatcher that the host's KSampler reads, with Stable Diffusion's noise schedule."""
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
) -> Steps:
    """The steps of a run with these inputs of SafelightKSampler or SafelightKSamplerAdvanced.

    Raises ValueError for inputs that the nodes would not take.
    """
    if sampler_name not in comfy.samplers.KSampler.SAMPLERS:
        raise ValueError(
            f"sampler_name: expected a sampler of this ComfyUI, got {sampler_name!r}. Choose one from the list."
        )
    if scheduler not in comfy.samplers.KSampler.SCHEDULERS:
        raise ValueError(
            f"scheduler: expected a scheduler of this ComfyUI, got {scheduler!r}. Choose one from the list."
        )
    if not 0.0 < denoise <= 1.0:
        raise ValueError(
            f"denoise: expected a number above 0 and at most 1, got {denoise:g}. Give a number in that range."
        )
    if steps < 1 or steps / denoise > MOST_STEPS:
        raise ValueError(
            f"steps: expected a run of 1 to {MOST_STEPS} steps, got {steps} steps at denoise {denoise:g}. Change one "
            "of the two."
        )
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

    def progress(at: list[float]) -> ByAxis:
        return {axis: [places(sigma)[axis] for sigma in at] for axis in AXES}

    return {
        "progress": progress(levels[:-1]),
        "guarded": progress(host.step_call_sigmas(sampler, levels)),
        "from": min(max(first, start_at_step), len(levels) - 1),
        "to": min(end_at_step, len(levels) - 1),
    }


def answer(query: Mapping[str, str]) -> Steps:
    """steps_of for a request's query; names and defaults are those of the nodes. Raises ValueError."""
    for name in ("steps", "scheduler"):
        if name not in query:
            raise ValueError(f"{name}: expected a value in the query, got none. Ask with steps and scheduler.")
    return steps_of(
        _whole_number("steps", query["steps"]),
        query.get("sampler_name", "euler"),
        query["scheduler"],
        _number("denoise", query.get("denoise", "1")),
        _whole_number("start_at_step", query.get("start_at_step", "0")),
        _whole_number("end_at_step", query.get("end_at_step", "10000")),
        query.get("return_with_leftover_noise", "disable"),
    )


def _whole_number(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"{name}: expected a whole number from 0 up, got {shortened(text)}. Give such a number.")
    return int(text)


def _number(name: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", text):
        raise ValueError(f"{name}: expected a number from 0 up, got {shortened(text)}. Give such a number.")
    return float(text)


async def _query(request: web.Request) -> Mapping[str, str]:
    return request.query


def serve() -> None:
    """Answers GET /safelight/steps on the server that loads this pack, where there is one."""
    serve_page("GET", ROUTE, _query, lambda query: answer(query))
