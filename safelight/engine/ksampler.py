"""A KSampler's run with a safe prompt beside the positive one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import comfy.samplers
import torch

from safelight.engine import host
from safelight.engine.guider import MethodGuider, StockGuider
from safelight.engine.method_setup import MethodSetup, dual_setup
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_record import RunRecord
from safelight.engine.separate import EVERY_STEP, MERGES, SEPARATE, VALUES, separate_sampler
from safelight.engine.values import values_setup
from safelight.guidance.settings import GuidanceSettings
from safelight.text.conditioning import Conditioning
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class Noise(Protocol):
    """NOISE of the host. seed: of what samplers draw on the way."""

    @property
    def seed(self) -> int: ...

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        """The noise that a run of this LATENT starts from."""


@dataclass(frozen=True)
class SeedNoise:
    """The noise of the stock samplers. adds: whether there is any."""

    seed: int
    adds: bool = True

    def generate_noise(self, input_latent: dict[str, Any]) -> torch.Tensor:
        return host.make_noise(input_latent["samples"], self.seed, input_latent.get("batch_index"), not self.adds)


@dataclass(frozen=True)
class SamplingJob:
    """The inputs of a sampler node: a run of `sampler` over `sigmas`, a part of `full_sigmas`.

    latent: LATENT, as the artist linked it. memory: what its runs remember, if anything.
    """

    model: ModelPatcher
    positive: Conditioning
    safe: Conditioning
    negative: Conditioning
    latent: dict[str, Any]
    noise: Noise
    cfg: float
    sampler: comfy.samplers.KSAMPLER
    sigmas: torch.Tensor
    full_sigmas: torch.Tensor
    memory: RowMemory | None = None
    _noises: list[torch.Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @cached_property
    def samples(self) -> torch.Tensor:
        """The latent's samples, with the shape that the model expects of an empty one."""
        return host.fix_empty_latent(self.model, self.latent)

    def begin(self) -> torch.Tensor:
        """The noise that a run starts from, for every run of the job the first one's. It is made each time: that also
        seeds what samplers of older hosts draw on the way."""
        self._noises.append(self.noise.generate_noise({**self.latent, "samples": self.samples}))
        del self._noises[1:]
        return self._noises[0]

    def noise_mask(self, frames: int) -> torch.Tensor | None:
        """The latent's noise mask for its batch repeated `frames` times.

        The host gives masks to the pictures of a batch in turn, so each repetition needs those of a single batch.
        """
        mask, pictures = self.latent.get("noise_mask"), len(self.samples)
        if mask is None or frames == 1 or (self.samples.ndim == 5 and mask.ndim < 5):  # those of a video's frames
            return mask
        masks = mask if mask.ndim == 5 else mask.reshape(-1, *mask.shape[-2:])
        return torch.cat([masks[[i % len(masks) for i in range(pictures)]]] * frames)

    def sample(
        self,
        setup: MethodSetup | None,
        record: RunRecord,
        callback: Callable[..., None],
        *,
        sampler: comfy.samplers.KSAMPLER | None = None,
        frames: int = 1,
    ) -> torch.Tensor:
        """The latents that the run ends with; a stock run where there is no method. Fills the record.

        sampler: in place of the job's. frames: how many times the batch is repeated, from the same noise.
        """
        guider = (
            StockGuider(self.model, record, self.memory)
            if setup is None
            else MethodGuider(self.model, setup, self.full_sigmas, record)
        )
        guider.set_conds(self.positive, self.negative)
        guider.set_cfg(self.cfg)
        samples, noise = self.samples, self.begin()
        if frames > 1:
            samples, noise = torch.cat([samples] * frames), torch.cat([noise] * frames)
        return guider.sample(
            noise,
            samples,
            sampler or self.sampler,
            self.sigmas,
            denoise_mask=self.noise_mask(frames),
            callback=callback,
            disable_pbar=host.progress_bar_disabled(),
            seed=self.noise.seed,
        )


def sample_guided(
    job: SamplingJob, settings: GuidanceSettings, steps: int, merge: str, merge_at: float
) -> dict[str, Any]:
    """The ui and the result (LATENT, report, trace, passed) of a sampler node without a detector, which passes nothing.

    Samples as the host's common_ksampler does.
    """
    if merge not in MERGES:
        raise ValueError(f"merge: unknown mode {merge!r}. Use one of {', '.join(MERGES)}.")
    if merge == SEPARATE and settings.selective is not None:
        raise ValueError(
            "selective: expected nothing with merge = separate, where the two prompts' latents go their own ways and "
            f'there is nothing to choose by. Set merge to "{EVERY_STEP}", or unlink selective.'
        )
    record = RunRecord()
    if merge == VALUES:
        setup = values_setup(settings, job.model, job.safe, job.memory)
    else:
        setup = dual_setup(settings, job.safe, job.memory)
    if setup is None:
        record.notes += [*settings.notes, settings.why_stock]
    preview = host.preview_callback(job.model, steps)
    if job.sigmas.shape[-1] > 1:
        separate = merge == SEPARATE and setup is not None
        sampler = separate_sampler(job.sampler, merge_at) if separate else job.sampler
        samples = job.sample(setup, record, preview, sampler=sampler)
    else:
        record.notes.append("no step to run.")
        samples = job.sample(None, record, preview)  # of one noise level: the latent with that noise
    record.log()
    selective = None if settings.selective is None else asdict(settings.selective)
    report = record.to_json(settings, merge=merge, selective=selective, economy=settings.economy)
    latent = host.output_latent(job.latent, host.to_intermediate(samples))
    trace = Trace() if setup is None else setup.trace
    return {"ui": {"safelight_report": [report]}, "result": (latent, report, trace, False)}


def seed_job(
    model: ModelPatcher,
    positive: Conditioning,
    safe: Conditioning,
    negative: Conditioning,
    latent: dict[str, Any],
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float = 1.0,
    memory: RowMemory | None = None,
) -> SamplingJob:
    """The run of the stock KSampler with these settings."""
    stock = stock_sampler(model, steps, sampler_name, scheduler, denoise)
    full_sigmas = whole_run(model, stock.sigmas, steps, sampler_name, scheduler, denoise)
    noise, sampler = SeedNoise(seed), comfy.samplers.sampler_object(stock.sampler)
    return SamplingJob(model, positive, safe, negative, latent, noise, cfg, sampler, stock.sigmas, full_sigmas, memory)


def stock_sampler(
    model: ModelPatcher | SimpleNamespace, steps: int, sampler_name: str, scheduler: str, denoise: float = 1.0
) -> comfy.samplers.KSampler:
    """The host's KSampler object, which has the run's `sigmas` and the name of its `sampler`."""
    return comfy.samplers.KSampler(
        model,
        steps=steps,
        device=model.load_device,
        sampler=sampler_name,
        scheduler=scheduler,
        denoise=denoise,
        model_options=model.model_options,
    )


def whole_run(
    model: ModelPatcher | SimpleNamespace,
    sigmas: torch.Tensor,
    steps: int,
    sampler_name: str,
    scheduler: str,
    denoise: float,
) -> torch.Tensor:
    """The sigmas of the run from pure noise of which a partial denoise (`sigmas`) is the last part."""
    if 0.0 < denoise <= 0.9999:
        return stock_sampler(model, int(steps / denoise), sampler_name, scheduler).sigmas
    return sigmas


def cut_short(sigmas: torch.Tensor, end_at_step: int, return_with_leftover_noise: str) -> torch.Tensor:
    """The sigmas up to step end_at_step, then 0, for a run that ends there without noise; else as they are."""
    if end_at_step < len(sigmas) - 1 and return_with_leftover_noise == "disable":
        return torch.cat([sigmas[:end_at_step], sigmas.new_zeros(1)])
    return sigmas
