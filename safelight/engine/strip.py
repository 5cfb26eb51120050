"""A strip: one job at several places of the safety slider, in one sampling run where that is possible."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import comfy.utils
import torch

from safelight.detect.least_level import Ascent, compared
from safelight.detect.look import FOUND, Look
from safelight.engine import host
from safelight.engine.call_patches import has_call_patch
from safelight.engine.ksampler import SamplingJob
from safelight.engine.least import Eye, as_note, looks_of
from safelight.engine.method_setup import dual_setup
from safelight.engine.pictures import decoded, save_previews
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_record import Movement, RunRecord
from safelight.engine.separate import EVERY_STEP
from safelight.engine.shared_noise import share_noise
from safelight.engine.strip_run import StripSetup
from safelight.guidance.settings import GuidanceSettings
from safelight.views.contact_sheet import captioned, labelled, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from comfy.sd import VAE


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
    job: SamplingJob,
    settings: GuidanceSettings,
    levels: tuple[float, ...],
    sampler_name: str,
    vae: VAE | None,
    eye: Eye | None,
) -> dict[str, Any]:
    """The ui and the result (strip, frames, LATENT, report, passed) of the strip node.

    settings: at the highest level. eye: of the linked detector, None without one.
    """
    if vae is None:
        raise ValueError("vae: expected a VAE, got none; the checkpoint may not contain one. Link a Load VAE.")
    if not isinstance(job.samples, torch.Tensor) or job.samples.ndim not in (4, 5):
        raise ValueError(
            "latent_image: expected the latent of a picture or a video, got one without pictures. Connect another "
            "latent."
        )
    if eye is not None and eye.detector.conditionings:
        raise ValueError(
            "detector: expected one that looks at pictures, got one with Safelight Model Presence, which looks at a "
            "sampler's run. Link it to Safelight KSampler, and another detector here."
        )
    frames = _sample_levels(job, settings, levels, sampler_name)
    latent = host.output_latent(job.latent, host.to_intermediate(frames.samples))
    # So that a sampler behind this node starts every level of a picture from the same noise and mask again.
    pictures = len(frames.samples) // len(levels)
    latent["batch_index"] = list(job.latent.get("batch_index") or range(pictures)) * len(levels)
    if "noise_mask" in latent:
        latent["noise_mask"] = job.noise_mask(len(levels))
    images = decoded(vae, latent["samples"])
    each = len(images) // len(latent["samples"])  # frames, of a video
    columns = images[each // 2 :: each, ..., :3].float().cpu().clamp(0.0, 1.0).unflatten(0, (len(levels), -1))
    more: dict[str, Any] = {}
    passed = False
    if eye is not None:
        looks = _look(eye, images, len(levels), pictures)
        ways = [compared(dict(zip(levels, of_one, strict=True))) for of_one in zip(*looks, strict=True)]
        passed = all(way.passed for way in ways)
        columns = _with_findings(columns, levels, looks, ways)
        frames.record.notes += as_note(ways)
        more["look"] = {"detector": eye.detector.name, "passed": passed, "pictures": looks_of(ways)}
    strip = labelled(columns, levels)
    frames.record.log()
    by_level = [
        {"safety": level, "weights": weights, **movement.to_dict()}
        for level, weights, movement in zip(levels, frames.weights, frames.movements, strict=True)
    ]
    selective = None if settings.selective is None else asdict(settings.selective)
    more |= {"levels": levels, "frames": by_level, "merge": EVERY_STEP, "selective": selective}
    report = frames.record.to_json(settings, **more, economy=settings.economy)
    return {"ui": {"safelight_report": [report]}, "result": (strip, images, latent, report, passed)}


def shown_frames(outcome: dict[str, Any], seed: int) -> dict[str, list[str]]:
    """What the page's own scripts show of a strip: the node's `ui` with the frames, saved as files.

    A video's frame is its middle picture. found: by picture what a detector found, "" for nothing; absent without one.
    enough: by picture whether this is the least level at which nothing was found.
    """
    _, frames, latent, text, _ = outcome["result"]
    report, count = json.loads(text), len(latent["samples"])
    pictures = frames.unflatten(0, (count, -1))
    files = save_previews(pictures[:, pictures.shape[1] // 2])
    levels = report["levels"]
    each = count // len(levels)
    shown: list[dict[str, Any]] = []
    for i, level in enumerate(levels):
        frame = {"safety": level, "pictures": files[i * each : (i + 1) * each]}
        if "look" in report:
            looked = report["look"]["pictures"]
            looks = [next(look for look in one["looks"] if look["safety"] == level) for one in looked]
            frame["found"] = [look["words"] if look["score"] >= FOUND else "" for look in looks]
            frame["enough"] = [one["passed"] and one["safety"] == level for one in looked]
        shown.append(frame)
    return {**outcome["ui"], "safelight_frames": [json.dumps({"seed": seed, "frames": shown})]}


def _look(eye: Eye, images: torch.Tensor, levels: int, pictures: int) -> list[list[Look]]:
    """One look for each picture at each level, by level."""
    bar = comfy.utils.ProgressBar(len(images))
    looks = eye.look_at(images, levels * pictures, bar.update)
    return [looks[i : i + pictures] for i in range(0, len(looks), pictures)]


def _with_findings(
    columns: torch.Tensor, levels: tuple[float, ...], looks: list[list[Look]], ways: list[Ascent]
) -> torch.Tensor:
    """The pictures [levels, pictures, H, W, 3] with what was found in each, the least level that passes marked."""
    captions = [[look.words if look.found else "nothing found" for look in row] for row in looks]
    return captioned(columns, captions, [[way.passed and way.level == level for way in ways] for level in levels])


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
    why = f"{sampler_name}: the frames can't share its noise" if sampler is None else ""
    if has_call_patch(job.model):
        why = why or "model: it carries a patch around its calls or its guidance"
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
    """The levels with one run of the sampler for each. What two of them begin with alike is evaluated once."""
    records, parts = [RunRecord() for _ in levels], []
    job = replace(job, memory=RowMemory(between_runs=False))
    for i, (level, record) in enumerate(zip(levels, records, strict=True)):

        def callback(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int, before: int = i) -> None:
            preview(before * total + step, denoised, x, total * len(levels))

        setup = dual_setup(replace(settings, safety=level), job.safe, job.memory)
        parts.append(job.sample(setup, record, callback))
    top = records[levels.index(max(levels))]
    top.counts = [sum(each) for each in zip(*(record.counts for record in records), strict=True)]
    top.notes.append(note)
    weights, movements = [record.weights for record in records], [record.movement for record in records]
    return Frames(top, weights, torch.cat(parts), movements)
