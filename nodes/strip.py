"""SafelightStrip: one seed at several safety levels, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import comfy.samplers
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from safelight.views.contact_sheet import DEFAULT_LEVELS, FEWEST, MOST, read_levels, sheet, side_by_side
from safelight.views.trace import Trace
from safelight.engine import host
from . import inputs, ksampler as sampling
from safelight.engine.shared_noise import shared
from safelight.engine.dual_run import DualSteering
from safelight.engine.strip_run import StripSteering
from .inputs import Guidance, read_guidance
from safelight.engine.run_record import RunRecord
from safelight.engine.guider import SteeredGuider, StockGuider

LEVELS = ("STRING", {
    "default": DEFAULT_LEVELS,
    "tooltip": f"The places of the safety slider to show, {FEWEST} to {MOST} numbers from 0 to 1, in this order.",
})  # fmt: skip
VAE = ("VAE", {"tooltip": "Decodes the pictures of the strip."})
_HOOKS = ("sampler_cfg_function", "sampler_pre_cfg_function", "sampler_post_cfg_function",
          "sampler_calc_cond_batch_function", "model_function_wrapper")  # fmt: skip


class SafelightStrip:
    RETURN_TYPES = ("IMAGE", "IMAGE", "LATENT", "STRING")
    RETURN_NAMES = ("strip", "frames", "LATENT", "report")
    OUTPUT_TOOLTIPS = (
        "One picture: a column for each level, with the level over it.",
        "The pictures alone, as a batch, level after level.",
        "Their latents, in the same order.",
        "What the run did, as JSON: the weights of every level, risk, gate, rows.",
    )
    FUNCTION = "sample"
    CATEGORY = "Safelight/sampling"
    SEARCH_ALIASES = [*inputs.SEARCH_ALIASES, "compare", "contact sheet", "x/y plot", "grid"]
    DESCRIPTION = (
        "One seed at several places of the safety slider, side by side, in one sampling run: what the levels have in "
        "common is evaluated once. Each picture is what Safelight KSampler gives at that level."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "vae": VAE,
                "latent_image": inputs.LATENT_IMAGE,
                "seed": ("INT", sampling.SEED),
                "steps": sampling.STEPS,
                "cfg": inputs.CFG,
                "sampler_name": sampling.SAMPLER_NAME,
                "scheduler": sampling.SCHEDULER,
                "denoise": sampling.DENOISE,
                "levels": LEVELS,
            },
            "optional": {"schedule": inputs.SCHEDULE, "risk": inputs.RISK, "gate": inputs.GATE, "mask": inputs.MASK,
                         "selective": inputs.SELECTIVE},
        }  # fmt: skip

    def sample(self, model, positive, safe, negative, vae, latent_image, seed, steps, cfg, sampler_name, scheduler,
               denoise, levels, schedule=None, risk=1.0, gate=inputs.DEFAULT_GATE, mask=None,
               selective=None) -> dict[str, Any]:  # fmt: skip
        levels = read_levels(levels)
        guidance = read_guidance(max(levels), schedule, risk, gate, mask, selective)
        if vae is None:
            raise ValueError("vae: there is none on this link; the checkpoint may not contain one.")
        samples = host.fix_empty_latent(model, latent_image)
        if not isinstance(samples, torch.Tensor) or samples.ndim not in (4, 5):
            raise ValueError("latent_image: it holds no pictures, so there is no strip of them; connect the latent of "
                             "a picture or a video.")  # fmt: skip
        stock = sampling.stock_sampler(model, steps, sampler_name, scheduler, denoise)
        full = sampling.whole_run(model, stock.sigmas, steps, sampler_name, scheduler, denoise)
        sampler = comfy.samplers.sampler_object(stock.sampler)
        work = _Work(model, positive, safe, negative, cfg, latent_image, samples, seed, sampler, stock.sigmas, full)

        record, weights, samples = self.run(work, guidance, levels, stock.sampler)
        record.log()
        frames = [{"safety": level, "weights": each} for level, each in zip(levels, weights, strict=True)]
        chosen = None if guidance.selective is None else asdict(guidance.selective)
        report = record.to_json(guidance, levels=levels, frames=frames, merge="every step", selective=chosen)
        latent = host.output_latent(latent_image, host.to_intermediate(samples))
        # So that a sampler behind this node starts every level of a picture from the same noise again.
        pictures = len(samples) // len(levels)
        latent["batch_index"] = list(latent_image.get("batch_index") or range(pictures)) * len(levels)
        images = vae.decode(latent["samples"])
        middle = images[:, images.shape[1] // 2] if images.ndim == 5 else images
        strip = labelled(middle[..., :3].float().cpu().clamp(0.0, 1.0).unflatten(0, (len(levels), -1)), levels)
        frames_out = images.flatten(0, 1) if images.ndim == 5 else images
        return {"ui": {"safelight_report": [report]}, "result": (strip, frames_out, latent, report)}

    def run(self, work: _Work, guidance: Guidance, levels: tuple[float, ...],
            sampler_name: str) -> tuple[RunRecord, list[list[float]], torch.Tensor]:  # fmt: skip
        """The record, each level's weight at every call, and the latents, level after level."""
        record, count = RunRecord(), len(levels)
        if work.sigmas.shape[-1] < 2:
            record.notes.append("no step to run: the latent is unchanged.")
            return record, [[] for _ in levels], work.repeated(count)
        preview = host.preview_callback(work.model, work.sigmas.shape[-1] - 1)
        if not guidance.acts:
            why = (f"the gate is closed, risk {guidance.risk:g} is below {guidance.gate:g}" if guidance.safety else
                   "safety is 0")  # fmt: skip
            record.notes += [*guidance.notes, f"{why}: the stock sampler ran."]
            samples = work.sampled(None, work.sampler, 1, preview, record)
            record.extra_rows = record.rows * (1 - count)
            return record, [record.weights] * count, torch.cat([samples] * count)
        sampler = shared(sampler_name, work.sampler, count, work.latent.get("noise_mask") is not None)
        why = f"{sampler_name}: the frames can't share its noise" if sampler is None else alone_because(work.model)
        if why:
            return self.one_by_one(work, guidance, levels, preview, f"{why}, so each level was a run of its own.")

        def callback(step: int, denoised: torch.Tensor, x: torch.Tensor, total: int) -> None:
            preview(step, side_by_side(denoised, count), x, total)

        steering = StripSteering(guidance, work.safe, levels)
        samples = work.sampled(steering, sampler, count, callback, record)
        return record, steering.run.weights, samples

    def one_by_one(self, work: _Work, guidance: Guidance, levels: tuple[float, ...], preview: Any,
                   note: str) -> tuple[RunRecord, list[list[float]], torch.Tensor]:  # fmt: skip
        """The same by one run of the sampler for each level, with the record of the highest."""
        records, parts = [RunRecord() for _ in levels], []
        for i, (level, record) in enumerate(zip(levels, records, strict=True)):

            def callback(step: int, denoised: Any, x: Any, total: int, before: int = i) -> None:
                preview(before * total + step, denoised, x, total * len(levels))

            own = replace(guidance, safety=level)
            steering = DualSteering(own, work.safe, Trace()) if own.acts else None
            parts.append(work.sampled(steering, work.sampler, 1, callback, record))
        top = records[levels.index(max(levels))]
        top.rows, top.extra_rows = sum(record.rows for record in records), sum(record.extra_rows for record in records)
        top.notes.append(note)
        return top, [record.weights for record in records], torch.cat(parts)


@dataclass
class _Work:
    """What is to be sampled: a run over `sigmas`, a part of `full`."""

    model: Any
    positive: Any
    safe: Any
    negative: Any
    cfg: float
    latent: dict[str, Any]
    samples: torch.Tensor
    seed: int
    sampler: Any
    sigmas: torch.Tensor
    full: torch.Tensor

    def repeated(self, frames: int) -> torch.Tensor:
        return torch.cat([self.samples] * frames)

    def sampled(self, steering: Any, sampler: Any, frames: int, callback: Any, record: RunRecord) -> torch.Tensor:
        """The latent image's batch, denoised, `frames` times from the same noise; stock where there is no steering."""
        noise = host.make_noise(self.samples, self.seed, self.latent.get("batch_index"), False)
        guider = (StockGuider(self.model, record) if steering is None
                  else SteeredGuider(self.model, steering, self.full, record))  # fmt: skip
        guider.set_conds(self.positive, self.negative)
        guider.set_cfg(self.cfg)
        return guider.sample(torch.cat([noise] * frames), self.repeated(frames), sampler, self.sigmas,
                             denoise_mask=self.latent.get("noise_mask"), callback=callback,
                             disable_pbar=host.progress_bar_disabled(), seed=self.seed)  # fmt: skip


def alone_because(model: Any) -> str:
    """Why the frames of a strip can't be one run of this model; empty where they can.

    What a hook or a wrapper keeps from call to call belongs to one picture.
    """
    options = model.model_options
    kept = options.get("transformer_options", {}).get("easycache") is not None
    wrapped = any(functions for keyed in getattr(model, "wrappers", {}).values() for functions in keyed.values())
    if kept or wrapped or any(options.get(name) for name in _HOOKS):
        return "model: it carries a patch around its calls or its guidance"
    return ""


def labelled(pictures: torch.Tensor, levels: tuple[float, ...]) -> torch.Tensor:
    """The strip of pictures [levels, batch, H, W, 3]: a column for each level, with its number over it."""
    width = pictures.shape[3]
    height = max(20, width // 10)
    font = ImageFont.load_default(round(0.6 * height))
    labels = []
    for level in levels:
        image = Image.new("L", (width, height))
        ImageDraw.Draw(image).text((width / 2, height / 2), f"{level:g}", 255, font, anchor="mm")
        labels.append(torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0))
    return sheet(pictures.transpose(0, 1), torch.stack(labels))


NODE_CLASS_MAPPINGS = {"SafelightStrip": SafelightStrip}
NODE_DISPLAY_NAME_MAPPINGS = {"SafelightStrip": "Safelight Strip"}
