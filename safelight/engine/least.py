"""A sampler's run with a detector: look, steer where something is found, look again. The least safety that is enough.

The plain run comes first; a text that is risky in itself begins at a floor. What a run leaves found goes on at the next
of a few levels, up to the slider; what was evaluated before is not evaluated again (row_memory.py). Pictures of a batch
go their own ways, and one that passed keeps its bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import comfy.model_management
import torch

from safelight.checks import unit_number
from safelight.detect.detector import Detector
from safelight.detect.least_level import Ascent, ascent, levels_up_to
from safelight.detect.look import Look
from safelight.engine import host
from safelight.engine.cond_batch import ModelCall
from safelight.engine.ksampler import SamplingJob
from safelight.engine.look_run import LookSetup
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_plan import plan_run
from safelight.engine.run_record import RunRecord
from safelight.engine.separate import EVERY_STEP
from safelight.guidance.economy import OFF
from safelight.guidance.settings import GuidanceSettings
from safelight.views.findings import KEEP, check_hiding, hidden
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from comfy.sd import VAE

DEFAULT_FLOOR = 0.5


@dataclass(frozen=True)
class Eye:
    """What looks in a sampler, and what is done with what it finds.

    at_least: the level that a risky text begins with. hide: what becomes of a picture that no level lets pass.
    """

    detector: Detector
    vae: VAE
    at_least: float = DEFAULT_FLOOR
    hide: str = KEEP

    def look(self, latents: torch.Tensor, pictures: int) -> tuple[list[Look], torch.Tensor]:
        """One look for each of the pictures, of a video the worst of its frames; and the images. latents: finished."""
        images = self.vae.decode(latents)
        flat = images.flatten(0, 1) if images.ndim == 5 else images
        looks = self.detector.look(flat, lambda _: comfy.model_management.throw_exception_if_processing_interrupted())
        each = len(looks) // pictures
        return [max(looks[i * each : (i + 1) * each], key=lambda one: one.score) for i in range(pictures)], flat


def read_eye(detector: Detector | None, vae: VAE | None, at_least: float, hide: str) -> Eye | None:
    """The inputs of a sampler by which it looks; None without a detector. Raises ValueError, naming the wrong one."""
    if detector is None:
        return None
    if not isinstance(detector, Detector):
        raise ValueError(
            f"detector: expected a detector, such as Safelight NudeNet, got {type(detector).__name__}. Link one."
        )
    if vae is None:
        raise ValueError("vae: expected a VAE beside the detector, which looks at pictures, got none. Link one.")
    check_hiding(hide)
    return Eye(detector, vae, unit_number("at_least", at_least), hide)


def sample_looking(job: SamplingJob, settings: GuidanceSettings, eye: Eye, steps: int, merge: str) -> dict[str, Any]:
    """The ui and the result (LATENT, report, trace, passed) of a sampler node with a detector.

    Raises ValueError, naming the input, for what goes with no detector, and for a run that ends with noise left.
    """
    if merge != EVERY_STEP:
        raise ValueError(
            f'merge: expected "{EVERY_STEP}" with a detector, got {merge!r}. Choose it, or unlink the detector.'
        )
    if job.sigmas.shape[-1] < 2:
        raise ValueError(
            "steps: expected a step to run with a detector, got none. Raise denoise or steps, or unlink the detector."
        )
    if settings.economy != OFF:
        raise ValueError(
            f'economy: expected "{OFF}" with a detector, got "{settings.economy}": pictures at several levels share no '
            "remembered prediction. Switch it off, or unlink the detector."
        )
    if not plan_run(settings, job.model, job.sampler, job.sigmas, job.full_sigmas).ends_in_picture:
        raise ValueError(
            "detector: expected a run that ends in a picture, got a stage that leaves noise. Link it to the last stage "
            "alone."
        )
    outcome = sample_least(job, settings, eye, lambda: host.preview_callback(job.model, steps))
    if not settings.safety:
        outcome.record.notes += [*settings.notes, settings.why_stock]
    outcome.record.notes += as_note(outcome.ways)
    outcome.record.log()
    selective = None if settings.selective is None else asdict(settings.selective)
    more = {"merge": EVERY_STEP, "selective": selective, "economy": OFF, "look": outcome.about(eye)}
    report = outcome.record.to_json(settings, **more)
    latent = host.output_latent(job.latent, outcome.samples)
    return {"ui": {"safelight_report": [report]}, "result": (latent, report, outcome.trace, outcome.passed)}


@dataclass(frozen=True)
class Outcome:
    """samples: the latents; record: of all runs together; ways: of the pictures."""

    samples: torch.Tensor
    record: RunRecord
    ways: list[Ascent]
    trace: Trace
    answered: int

    @property
    def passed(self) -> bool:
        return all(way.passed for way in self.ways)

    def about(self, eye: Eye) -> dict[str, Any]:
        """For the report."""
        pictures = [
            {
                "safety": way.level,
                "passed": way.passed,
                "looks": [
                    {
                        "safety": one.level,
                        "early": one.early,
                        "score": round(one.look.score, 4),
                        "words": one.look.words,
                    }
                    for one in way.tried
                ],
            }
            for way in self.ways
        ]
        return {
            "detector": eye.detector.name,
            "hide": eye.hide,
            "passed": self.passed,
            "remembered_rows": self.answered,
            "pictures": pictures,
        }


def sample_least(
    job: SamplingJob, settings: GuidanceSettings, eye: Eye, preview: Callable[[], Callable[..., None]]
) -> Outcome:
    """settings: at the slider's place; behind a closed gate the text is harmless, so that the plain run comes first.
    preview: makes the host's callback of a run.

    Raises ValueError, naming the input, for what can't be looked at or hidden.
    """
    if not isinstance(job.samples, torch.Tensor) or job.samples.ndim not in (4, 5):
        raise ValueError(
            "latent_image: expected the latent of a picture or a video, got one that a detector can't look at. Unlink "
            "the detector."
        )
    if eye.hide != KEEP and job.samples.ndim == 5 and job.samples.shape[2] > 1:
        raise ValueError(
            f'hide: expected "{KEEP}" for a video, got "{eye.hide}". Keep it here, and hide in Safelight Look, '
            "behind VAE Decode."
        )
    pictures, levels = len(job.samples), levels_up_to(settings.safety) if settings.safety else ()
    ways = [ascent(levels, eye.at_least if settings.acts else 0.0) for _ in range(pictures)]
    trace = Trace()
    memory, total, todo, final = RowMemory(), RunRecord(), list(range(pictures)), job.samples
    images: dict[int, torch.Tensor] = {}

    def watch(call: ModelCall, denoised: torch.Tensor) -> list[Look]:
        devices = [denoised.device] if denoised.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            latents = call.model.process_latent_out(denoised.float())
            looks, _ = eye.look(host.to_intermediate(latents), len(denoised))
        # The decoder may have taken the model's place.
        further = getattr(call.guider, "loaded_models", None) or []
        needed = call.model.memory_required([2 * len(call.x), *call.x.shape[1:]])  # as the host's prepare_sampling asks
        comfy.model_management.load_models_gpu([call.guider.model_patcher, *further], needed)
        return looks

    while todo:
        record, of_run, setup = RunRecord(), Trace(), None
        memory.needed = [i in todo for i in range(pictures)]
        if levels:
            setup = LookSetup(settings, job.safe, ways, todo, watch, of_run, memory)
        samples = host.to_intermediate(job.sample(setup, record, preview()))
        final = samples if len(todo) == pictures else _put(final, samples, todo)
        _add(total, record, todo)
        trace.take(of_run, todo)
        early = setup.run.found_early if setup and setup.run else []
        for i in early:
            ways[i].rise()
        rest = [i for i in todo if i not in early]
        looks, shown = eye.look(samples[rest], len(rest))
        images |= {i: shown[n * len(shown) // len(rest)] for n, i in enumerate(rest)}
        if record.harmless:  # there is nothing to steer with, so the picture is the stock sampler's
            for i in rest:
                ways[i].levels, ways[i].level = (), 0.0
        todo = sorted([*early, *(i for i, look in zip(rest, looks, strict=True) if ways[i].look_at_picture(look))])
    if memory.full:
        total.notes.append("there was no room to remember all predictions, so some were made again.")
    return Outcome(_hidden(final, ways, images, eye), total, ways, trace, memory.answered)


def _put(latents: torch.Tensor, new: torch.Tensor, places: list[int]) -> torch.Tensor:
    latents = latents.clone()
    latents[places] = new[places]
    return latents


def _add(total: RunRecord, record: RunRecord, todo: list[int]) -> None:
    """One more run, for some of the pictures, in the record of all. The first of them has a stock run's rows."""
    first = total.rows == 0
    stock = record.plain_rows if first else total.plain_rows
    total.rows += record.rows
    total.extra_rows = total.rows - stock
    total.notes += [note for note in record.notes if note not in total.notes]
    total.take_calls(record, todo)


def _hidden(latents: torch.Tensor, ways: list[Ascent], images: dict[int, torch.Tensor], eye: Eye) -> torch.Tensor:
    """The latents, those of pictures that no level let pass hidden as the artist chose."""
    failed = [i for i, way in enumerate(ways) if not way.passed]
    if eye.hide == KEEP or not failed:
        return latents
    latents = latents.clone()
    for i in failed:  # one by one, as models of videos take several pictures for one
        covered = hidden(images[i][..., :3], ways[i].tried[-1].look, eye.hide)[None]
        latents[i] = host.to_intermediate(eye.vae.encode(covered)).reshape(latents[i].shape).to(latents)
    return latents


def as_note(ways: list[Ascent]) -> list[str]:
    """What was found and done, for the artist: a line a picture."""
    lines = []
    for number, way in enumerate(ways, 1):
        seen = [
            f"{one.look.words} {'on the way' if one.early else 'in the picture'} at safety {one.level:g}"
            for one in way.tried
            if one.look.found
        ]
        end = "nothing was found" if way.passed else "no level let it pass"
        begin = f"picture {number}: " if len(ways) > 1 else ""
        lines.append(f"{begin}{'; '.join([*seen, f'at safety {way.level:g} {end}'])}.")
    return lines
