"""A strip: one job at several places of the safety slider, in one sampling run where that is possible."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from safelight.engine import host
from safelight.engine.ksampler import SamplingJob
from safelight.engine.method_setup import dual_setup
from safelight.engine.run_record import Movement, RunRecord
from safelight.engine.separate import EVERY_STEP
from safelight.engine.shared_noise import share_noise
from safelight.engine.strip_run import StripSetup
from safelight.guidance.settings import GuidanceSettings
from safelight.views.contact_sheet import labelled, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from comfy.model_patcher import ModelPatcher
    from comfy.sd import VAE

_HOOKS = (
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
    "model_function_wrapper",
)


@dataclass(frozen=True)
class Frames:
    """record: of the highest level. weights: by level, of every call. samples: the latents, level after level.

    movements: by level.
    """

    record: RunRecord
    weights: list[list[float]]
    samples: torch.Tensor
    movements: list[Movement]


def sample_strip(
    job: SamplingJob, settings: GuidanceSettings, levels: tuple[float, ...], sampler_name: str, vae: VAE | None
) -> dict[str, Any]:
    """The ui and the result (strip, frames, LATENT, report) of the strip node. settings: at the highest level."""
    if vae is None:
        raise ValueError("vae: expected a VAE, got none; the checkpoint may not contain one. Link a Load VAE.")
    if not isinstance(job.samples, torch.Tensor) or job.samples.ndim not in (4, 5):
        raise ValueError(
            "latent_image: expected the latent of a picture or a video, got one without pictures. Connect another "
            "latent."
        )
    frames = _sample_levels(job, settings, levels, sampler_name)
    frames.record.log()
    by_level = [
        {"safety": level, "weights": weights, **movement.to_dict()}
        for level, weights, movement in zip(levels, frames.weights, frames.movements, strict=True)
    ]
    selective = None if settings.selective is None else asdict(settings.selective)
    report = frames.record.to_json(settings, levels=levels, frames=by_level, merge=EVERY_STEP, selective=selective)
    latent = host.output_latent(job.latent, host.to_intermediate(frames.samples))
    # So that a sampler behind this node starts every level of a picture from the same noise and mask again.
    pictures = len(frames.samples) // len(levels)
    latent["batch_index"] = list(job.latent.get("batch_index") or range(pictures)) * len(levels)
    if "noise_mask" in latent:
        latent["noise_mask"] = job.noise_mask(len(levels))
    images = vae.decode(latent["samples"])
    middle = images[:, images.shape[1] // 2] if images.ndim == 5 else images
    strip = labelled(middle[..., :3].float().cpu().clamp(0.0, 1.0).unflatten(0, (len(levels), -1)), levels)
    flat = images.flatten(0, 1) if images.ndim == 5 else images
    return {"ui": {"safelight_report": [report]}, "result": (strip, flat, latent, report)}


def _sample_levels(
    job: SamplingJob, settings: GuidanceSettings, levels: tuple[float, ...], sampler_name: str
) -> Frames:
    record, count = RunRecord(), len(levels)
    if job.sigmas.shape[-1] < 2:
        record.notes.append("no step to run: the latent is unchanged.")
        return Frames(record, [[] for _ in levels], torch.cat([job.samples] * count), [record.movement] * count)
    preview = host.preview_callback(job.model, job.sigmas.shape[-1] - 1)
    if not settings.acts:
        record.notes += [*settings.notes, settings.why_stock]
        samples = job.sample(None, record, preview)
        record.extra_rows = record.rows * (1 - count)
        return Frames(record, [record.weights] * count, torch.cat([samples] * count), [record.movement] * count)
    sampler = share_noise(sampler_name, job.sampler, count, job.latent.get("noise_mask") is not None)
    why = f"{sampler_name}: the frames can't share its noise" if sampler is None else why_alone(job.model)
    if why:
        return _one_by_one(job, settings, levels, preview, f"{why}, so each level was a run of its own.")

    def callback(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
        preview(step, side_by_side(denoised, count), x, total)

    setup = StripSetup(settings, job.safe, levels)
    samples = job.sample(setup, record, callback, sampler=sampler, frames=count)
    assert setup.run is not None
    return Frames(record, setup.run.weights, samples, setup.run.movements)


def _one_by_one(
    job: SamplingJob, settings: GuidanceSettings, levels: tuple[float, ...], preview: Callable[..., None], note: str
) -> Frames:
    """The levels with one run of the sampler for each."""
    records, parts = [RunRecord() for _ in levels], []
    for i, (level, record) in enumerate(zip(levels, records, strict=True)):

        def callback(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int, before: int = i) -> None:
            preview(before * total + step, denoised, x, total * len(levels))

        parts.append(job.sample(dual_setup(replace(settings, safety=level), job.safe), record, callback))
    top = records[levels.index(max(levels))]
    top.rows, top.extra_rows = sum(record.rows for record in records), sum(record.extra_rows for record in records)
    top.notes.append(note)
    weights, movements = [record.weights for record in records], [record.movement for record in records]
    return Frames(top, weights, torch.cat(parts), movements)


def why_alone(model: ModelPatcher) -> str:
    """The reason why the frames of a strip can't share one run of this model; empty where they can.

    A hook or a wrapper may remember things from call to call, and these belong to one picture.
    """
    options = model.model_options
    caches = options.get("transformer_options", {}).get("easycache") is not None
    wrapped = any(functions for keyed in getattr(model, "wrappers", {}).values() for functions in keyed.values())
    if caches or wrapped or any(options.get(name) for name in _HOOKS):
        return "model: it carries a patch around its calls or its guidance"
    return ""
