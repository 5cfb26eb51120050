"""KSampler and KSampler (Advanced) with a safe counterpart to the positive prompt."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import comfy.samplers
import torch

from safelight.views.trace import Trace
from safelight.engine import host
from . import inputs
from safelight.engine.dual_run import DualSteering
from .inputs import Guidance, read_guidance
from safelight.engine.run_record import RunRecord
from safelight.engine.separate import separate_sampler
from safelight.engine.guider import SteeredGuider, StockGuider

SEED = {"default": 0, "min": 0, "max": 0xFFFFFFFFFFFFFFFF, "control_after_generate": True,
        "tooltip": "The seed of the noise."}  # fmt: skip
STEPS = ("INT", {"default": 20, "min": 1, "max": 10000, "tooltip": "Number of steps."})
SAMPLER_NAME = (comfy.samplers.KSampler.SAMPLERS, {"tooltip": "The host's sampler."})
SCHEDULER = (comfy.samplers.KSampler.SCHEDULERS, {"tooltip": "How the noise is removed over the steps."})
DENOISE = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01,
                     "tooltip": "Below 1 the picture starts from latent_image: image-to-image."})  # fmt: skip
OPTIONAL = {"schedule": inputs.SCHEDULE, "risk": inputs.RISK, "gate": inputs.GATE, "merge": inputs.MERGE,
            "merge_at": inputs.MERGE_AT, "mask": inputs.MASK, "selective": inputs.SELECTIVE,
            "economy": inputs.ECONOMY}  # fmt: skip

ABOUT = (
    "Two prompts steer one sampling run: the prompt as written settles the layout, then its safe counterpart takes "
    "part as strongly as the slider says. At 0, and for a prompt whose risk is below the gate, the result is the stock "
    "sampler's, bit for bit. Reconstructed from the abstract of \"Safety Without Semantic Disruptions\" (arXiv "
    "2411.13982); the choices are ours. A creative control, not a moderation gate."
)


class GuidedSampler:
    """What the two sampler nodes share."""

    RETURN_TYPES = ("LATENT", "STRING", "SAFELIGHT_TRACE")
    RETURN_NAMES = ("LATENT", "report", "trace")
    OUTPUT_TOOLTIPS = ("The denoised latent.", "What the run did, as JSON: the weight of every call, risk, gate, rows.",
                       inputs.TRACE_TOOLTIP)  # fmt: skip
    FUNCTION = "sample"
    CATEGORY = "Safelight/sampling"
    SEARCH_ALIASES = inputs.SEARCH_ALIASES

    def run(self, model: Any, positive: Any, safe: Any, negative: Any, latent: dict, seed: int, cfg: float,
            sampler: Any, sigmas: torch.Tensor, full: torch.Tensor, steps: int, guidance: Guidance, merge: str,
            merge_at: float, disable_noise: bool = False) -> dict[str, Any]:  # fmt: skip
        """Samples as the host's common_ksampler does, over `sigmas`, a part of `full`; the node's ui and result."""
        if merge not in inputs.MERGES:
            raise ValueError(f"merge: {merge!r} is no way to merge; use one of {', '.join(inputs.MERGES)}.")
        if merge == "separate" and guidance.selective is not None:
            raise ValueError("selective: with merge = separate the two prompts' latents go their own ways, so there "
                             "is nothing to choose by; set merge to \"every step\", or unlink selective.")  # fmt: skip
        record, trace = RunRecord(), Trace()
        samples = host.fix_empty_latent(model, latent)
        noise = host.make_noise(samples, seed, latent.get("batch_index"), disable_noise)

        if guidance.acts:
            guider = SteeredGuider(model, DualSteering(guidance, safe, trace), full, record)
            if merge == "separate":
                sampler = separate_sampler(sampler, guider, merge_at)
        else:
            guider = StockGuider(model, record)
            why = (f"the gate is closed, risk {guidance.risk:g} is below {guidance.gate:g}" if guidance.safety else
                   "safety is 0")  # fmt: skip
            record.notes += [*guidance.notes, f"{why}: the stock sampler ran."]
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        if sigmas.shape[-1] > 1:
            samples = guider.sample(noise, samples, sampler, sigmas, denoise_mask=latent.get("noise_mask"),
                                    callback=host.preview_callback(model, steps),
                                    disable_pbar=host.progress_bar_disabled(), seed=seed)  # fmt: skip
        else:
            record.notes.append("no step to run: the latent is unchanged.")
        selective = None if guidance.selective is None else asdict(guidance.selective)
        report = record.to_json(guidance, merge=merge, selective=selective, economy=guidance.economy)
        latent = host.output_latent(latent, host.to_intermediate(samples))
        return {"ui": {"safelight_report": [report]}, "result": (latent, report, trace)}


class SafelightKSampler(GuidedSampler):
    DESCRIPTION = ABOUT

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "latent_image": inputs.LATENT_IMAGE,
                "seed": ("INT", SEED),
                "steps": STEPS,
                "cfg": inputs.CFG,
                "sampler_name": SAMPLER_NAME,
                "scheduler": SCHEDULER,
                "denoise": DENOISE,
                "safety": inputs.SAFETY,
            },
            "optional": OPTIONAL,
        }

    def sample(self, model, positive, safe, negative, latent_image, seed, steps, cfg, sampler_name, scheduler, denoise,
               safety, schedule=None, risk=1.0, gate=inputs.DEFAULT_GATE, merge=inputs.MERGES[0],
               merge_at=inputs.DEFAULT_MERGE_AT, mask=None, selective=None,
               economy=inputs.OFF) -> dict[str, Any]:  # fmt: skip
        guidance = read_guidance(safety, schedule, risk, gate, mask, selective, economy)
        stock = stock_sampler(model, steps, sampler_name, scheduler, denoise)
        full = whole_run(model, stock.sigmas, steps, sampler_name, scheduler, denoise)
        return self.run(model, positive, safe, negative, latent_image, seed, cfg,
                        comfy.samplers.sampler_object(stock.sampler), stock.sigmas, full, steps, guidance, merge,
                        merge_at)  # fmt: skip


class SafelightKSamplerAdvanced(GuidedSampler):
    DESCRIPTION = ABOUT + (
        " Stages of one picture get the weights of the whole run: give each the same steps, schedule and safety."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "model": inputs.MODEL,
                "add_noise": (["enable", "disable"], {
                    "advanced": True, "tooltip": "Disable to go on with a latent that still has its noise."}),
                "noise_seed": ("INT", SEED),
                "steps": STEPS,
                "cfg": inputs.CFG,
                "sampler_name": SAMPLER_NAME,
                "scheduler": SCHEDULER,
                "positive": inputs.POSITIVE,
                "safe": inputs.SAFE,
                "negative": inputs.NEGATIVE,
                "latent_image": inputs.LATENT_IMAGE,
                "start_at_step": ("INT", {"default": 0, "min": 0, "max": 10000, "advanced": True,
                                          "tooltip": "The first step of this stage."}),
                "end_at_step": ("INT", {"default": 10000, "min": 0, "max": 10000, "advanced": True,
                                        "tooltip": "The step before which this stage ends."}),
                "return_with_leftover_noise": (["disable", "enable"], {
                    "advanced": True, "tooltip": "Enable where another stage goes on from here."}),
                "safety": inputs.SAFETY,
            },
            "optional": OPTIONAL,
        }  # fmt: skip

    def sample(self, model, add_noise, noise_seed, steps, cfg, sampler_name, scheduler, positive, safe, negative,
               latent_image, start_at_step, end_at_step, return_with_leftover_noise, safety, schedule=None, risk=1.0,
               gate=inputs.DEFAULT_GATE, merge=inputs.MERGES[0], merge_at=inputs.DEFAULT_MERGE_AT,
               mask=None, selective=None, economy=inputs.OFF) -> dict[str, Any]:  # fmt: skip
        guidance = read_guidance(safety, schedule, risk, gate, mask, selective, economy)
        stock = stock_sampler(model, steps, sampler_name, scheduler)
        full = cut_short(stock.sigmas, end_at_step, return_with_leftover_noise)
        return self.run(model, positive, safe, negative, latent_image, noise_seed, cfg,
                        comfy.samplers.sampler_object(stock.sampler), full[start_at_step:end_at_step + 1], full, steps,
                        guidance, merge, merge_at, disable_noise=add_noise == "disable")  # fmt: skip


def stock_sampler(model: Any, steps: int, sampler_name: str, scheduler: str, denoise: float = 1.0) -> Any:
    """The host's KSampler object: its `sigmas` and `sampler`."""
    return comfy.samplers.KSampler(model, steps=steps, device=model.load_device, sampler=sampler_name,
                                   scheduler=scheduler, denoise=denoise, model_options=model.model_options)  # fmt: skip


def whole_run(model: Any, sigmas: torch.Tensor, steps: int, sampler_name: str, scheduler: str,
              denoise: float) -> torch.Tensor:  # fmt: skip
    """The noise levels of the run from pure noise of which a partial denoise (`sigmas`) is the last part."""
    if 0.0 < denoise <= 0.9999:
        return stock_sampler(model, int(steps / denoise), sampler_name, scheduler).sigmas
    return sigmas


def cut_short(sigmas: torch.Tensor, end_at_step: int, return_with_leftover_noise: str) -> torch.Tensor:
    """The noise levels of a run that takes its picture out of step end_at_step without noise; else as they are."""
    if end_at_step < len(sigmas) - 1 and return_with_leftover_noise == "disable":
        return torch.cat([sigmas[:end_at_step], sigmas.new_zeros(1)])
    return sigmas


NODE_CLASS_MAPPINGS = {
    "SafelightKSampler": SafelightKSampler,
    "SafelightKSamplerAdvanced": SafelightKSamplerAdvanced,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "SafelightKSampler": "Safelight KSampler",
    "SafelightKSamplerAdvanced": "Safelight KSampler (Advanced)",
}
