"""A sampler's run with a detector: look, steer where something is found, look again. The least safety that is enough.

The plain run comes first; a text that is risky in itself begins at a floor. What a run leaves found goes on at the next
of a few levels, up to the slider; what was evaluated before is not evaluated again (row_memory.py). Pictures of a batch
go their own ways, and one that passed keeps its bits. Where the words are harmless and the picture is not, what was
found makes the safe prompt (words.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import comfy.model_management
import torch

from safelight.checks import unit_number
from safelight.detect.detector import Detector
from safelight.detect.least_level import Ascent, ascent, levels_up_to
from safelight.detect.look import Look
from safelight.detect.run_predictions import RunPredictions
from safelight.engine import host, studio
from safelight.engine.call_patches import has_call_patch
from safelight.engine.cond_batch import ModelCall
from safelight.engine.draws import undone_draws
from safelight.engine.ksampler import SamplingJob
from safelight.engine.look_run import FoundEarly, LookSetup
from safelight.engine.method_setup import marked
from safelight.engine.pictures import decoded
from safelight.engine.row_memory import RowMemory
from safelight.engine.run_plan import plan_run
from safelight.engine.run_record import LEFT_AS_WRITTEN, RunRecord
from safelight.engine.separate import EVERY_STEP
from safelight.engine.words import Words
from safelight.guidance.economy import OFF
from safelight.guidance.settings import GuidanceSettings
from safelight.studio.policy import STOP
from safelight.text.conditioning import beside, safe_branch
from safelight.text.inherit import HARMLESS
from safelight.views.findings import KEEP, check_hiding, hidden
from safelight.views.trace import Trace

if TYPE_CHECKING:
    from comfy.sd import VAE

DEFAULT_FLOOR = 0.5
UNCHANGED = (KEEP, STOP)  # ways with a picture that no level lets pass in which nothing is painted over it
NO_WORDS = (
    "nothing in the prompt could be replaced, so there was nothing to steer with: link Safelight Words, and what was "
    "found gives the words."
)


@dataclass(frozen=True)
class Eye:
    """What looks in a sampler, and what is done with what it finds.

    at_least: the level that a risky text begins with. hide: what becomes of a picture that no level lets pass; a
    server's may be "stop". words: make safe prompts of what is found, None for the linked one alone.
    """

    detector: Detector
    vae: VAE
    at_least: float = DEFAULT_FLOOR
    hide: str = KEEP
    words: Words | None = None

    def look(
        self, latents: torch.Tensor, pictures: int, run: RunPredictions | None = None
    ) -> tuple[list[Look], torch.Tensor]:
        """One look for each of the pictures, of a video the worst of its frames; and the first frame of each. latents:
        finished. run: what a detector that asks for predictions looks at."""
        images = decoded(self.vae, latents)
        return self.look_at(images, pictures, run=run), images[:: len(images) // pictures]

    def look_at(
        self,
        images: torch.Tensor,
        pictures: int,
        on_progress: Callable[[int], None] | None = None,
        run: RunPredictions | None = None,
    ) -> list[Look]:
        """One look for each of the pictures, of a video the worst of its frames. images: decoded, frame by frame.

        on_progress: told how many were looked at. run: as of `look`.
        """

        def looked(count: int) -> None:
            comfy.model_management.throw_exception_if_processing_interrupted()
            if on_progress is not None:
                on_progress(count)

        looks = self.detector.look(images, looked, run)
        each = len(looks) // pictures
        return [max(looks[i * each : (i + 1) * each], key=lambda one: one.score) for i in range(pictures)]


def read_eye(
    detector: Detector | None,
    vae: VAE | None,
    at_least: float = DEFAULT_FLOOR,
    hide: str = KEEP,
    words: Words | None = None,
) -> Eye | None:
    """The inputs of a sampler by which it looks, beside those of the server's owner; None without a detector. Raises
    ValueError, naming the wrong one."""
    if detector is not None and not isinstance(detector, Detector):
        raise ValueError(
            f"detector: expected a detector, such as Safelight NudeNet, got {type(detector).__name__}. Link one."
        )
    server = studio.server()
    both = detector if server is None else server.with_own(detector)
    if both is None:
        return None
    if vae is None:
        whose = "this server's detectors" if detector is None else "the detector"
        raise ValueError(f"vae: expected a VAE beside {whose}, which looks at pictures, got none. Link one.")
    check_hiding(hide)
    if words is not None and not isinstance(words, Words):
        raise ValueError(f"words: expected Safelight Words, got {type(words).__name__}. Link it or leave it empty.")
    at_least = unit_number("at_least", at_least)
    if server is not None:
        at_least, hide = server.policy.at_least(at_least), server.policy.hide(hide)
    return Eye(both, vae, at_least, hide, words)


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
            "detector: expected a run of a step or more, got none. Raise denoise or steps, link longer sigmas, or "
            "unlink the detector."
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

    @property
    def passed(self) -> bool:
        return all(way.passed for way in self.ways)

    def about(self, eye: Eye) -> dict[str, Any]:
        """For the report."""
        more = {"hide": eye.hide, "passed": self.passed, "look_rows": self.record.look_rows}
        return {"detector": eye.detector.name, **more, "pictures": looks_of(self.ways)}


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
    if eye.hide not in UNCHANGED and job.samples.ndim == 5 and job.samples.shape[2] > 1:
        raise ValueError(
            f'hide: expected "{KEEP}" for a video, got "{eye.hide}". Keep it here, and hide in Safelight Look, '
            "behind VAE Decode."
        )
    return _Climb(job, settings, eye, preview).to_the_end()


class _Climb:
    """The runs of a batch, each for the pictures that are at the same level with the same words.

    total: the record of all of them; final: the latents so far; finished: the pictures that a run has reached the end
    with; images: the first frame of each of these; stock_rows: what a stock run would have evaluated; no_place: whether
    the negative prompt could take nothing more.
    """

    def __init__(
        self, job: SamplingJob, settings: GuidanceSettings, eye: Eye, preview: Callable[[], Callable[..., None]]
    ) -> None:
        self.settings, self.eye, self.preview = settings, eye, preview
        self.memory = job.memory or RowMemory(False)
        self.job = replace(job, memory=self.memory)
        self.levels = levels_up_to(settings.safety) if settings.safety else ()
        self.safe = marked(job.safe, settings)
        branch = safe_branch(self.safe, job.positive) if self.levels else []
        self.harmless = bool(self.levels) and all(entry[1][HARMLESS] for entry in branch)
        self.steers = eye.words is not None or not self.harmless
        at_least = eye.at_least if settings.acts and not self.harmless else 0.0
        self.ways = [ascent(self.levels, at_least) for _ in range(len(job.samples))]
        self.trace, self.total, self.final = Trace(), RunRecord(), job.samples
        self.images: dict[int, torch.Tensor] = {}
        self.finished: set[int] = set()
        self.stock_rows = 0
        self.no_place = False

    def to_the_end(self) -> Outcome:
        todo = list(range(len(self.ways)))
        while todo:
            group = [i for i in todo if self.ways[i].alike(self.ways[todo[0]])]
            todo = sorted([*(i for i in todo if i not in group), *self._run(group)])
        self.total.extra_rows = self.total.asked_rows - self.stock_rows
        self._note()
        return Outcome(_hidden(self.final, self.ways, self.images, self.eye), self.total, self.ways, self.trace)

    def _run(self, group: list[int]) -> list[int]:
        """One run for these pictures; those of them that go on, at another level or with other words."""
        record, of_run, setup = RunRecord(), Trace(), None
        self.memory.needed = [i in group for i in range(len(self.ways))]
        texts = self.eye.detector.conditionings
        if self.levels or texts:
            given, against, way = self.safe, None, self.ways[group[0]]
            if self.eye.words is not None:
                given = self.eye.words.encoded(way.words, self.job.positive) if way.words else given
                if (further := self.eye.words.against(way)) is not None:
                    against = beside(self.job.negative, further)
                    self.no_place |= against is None
            watch = self._look_on_the_way if self.steers else None
            setup = LookSetup(self.settings, given, self.ways, group, watch, of_run, self.memory, texts, against)
        samples: torch.Tensor | None = None
        with suppress(FoundEarly):
            samples = host.to_intermediate(self.job.sample(setup, record, self.preview()))
        early = setup.run.found_early if setup and setup.run else []
        again, rest = [i for i in early if self._goes_on(i)], [i for i in group if i not in early]
        self.total.add_work(record)
        if samples is not None:
            self._take(samples, record, of_run, group)
            late = setup.run.predictions.late if setup and setup.run and setup.run.predictions else None
            looks, firsts = self.eye.look(samples[rest], len(rest), late and late.of(rest))
            self.images |= dict(zip(rest, firsts, strict=True))
            found = [i for i, look in zip(rest, looks, strict=True) if self.ways[i].look_at_picture(look)]
            again += [i for i in found if self._goes_on(i)]
        if setup:
            setup.run = None  # it holds its guider, which holds the setup
        return again

    def _take(self, samples: torch.Tensor, record: RunRecord, of_run: Trace, group: list[int]) -> None:
        """Of a run that reached its end what it did for these pictures."""
        self.final = _put(self.final, samples, group) if self.finished else samples
        # Without a memory no row is left out.
        counted = len(group) if record.memory == self.memory.scope else len(self.ways)
        self.stock_rows += record.plain_rows * len({*group} - self.finished) // counted
        self.finished |= {*group}
        self.total.notes += [note for note in record.notes if note not in self.total.notes]
        self.total.take_calls(record, group)
        self.trace.take(of_run, group)

    def _look_on_the_way(self, call: ModelCall, denoised: torch.Tensor, run: RunPredictions | None) -> list[Look]:
        with undone_draws(denoised):
            latents = call.model.process_latent_out(denoised.float())
            looks, _ = self.eye.look(host.to_intermediate(latents), len(denoised), run)
        # The decoder may have taken the model's place.
        further = getattr(call.guider, "loaded_models", None) or []
        needed = call.model.memory_required([2 * len(call.x), *call.x.shape[1:]])  # as the host's prepare_sampling asks
        comfy.model_management.load_models_gpu([call.guider.model_patcher, *further], needed)
        return looks

    def _goes_on(self, picture: int) -> bool:
        """After a look that found something."""
        way, words = self.ways[picture], self.eye.words
        return self.steers and way.rise(words.after(way, self.harmless) if words else "")

    def _note(self) -> None:
        """What the artist should know of all runs together."""
        notes = self.total.notes
        if self.eye.detector.conditionings and has_call_patch(self.job.model):
            notes.append(
                "the model carries a patch around its calls or its guidance, which may take the rows that Safelight "
                "Model Presence asks for into account."
            )
        if self.levels and self.total.memory != self.memory.scope:
            notes.append(f"nothing was remembered between the levels: {self.total.memory}.")
        if self.memory.full and any(len(way.tried) > 1 for way in self.ways):
            notes.append("there was no room to remember all predictions, so some were made again.")
        if self.no_place:
            notes.append(
                "negative: what was found could not be put behind it (no text, or another text encoder's), so it "
                "stayed as it is. Encode it with the text encoder that Safelight Words has."
            )
        if any(way.words for way in self.ways):
            self.total.notes = [note for note in notes if note != LEFT_AS_WRITTEN]
        elif not self.steers and not all(way.passed for way in self.ways):
            notes.append(NO_WORDS)


def _put(latents: torch.Tensor, new: torch.Tensor, places: list[int]) -> torch.Tensor:
    latents = latents.clone()
    latents[places] = new[places]
    return latents


def _hidden(latents: torch.Tensor, ways: list[Ascent], images: dict[int, torch.Tensor], eye: Eye) -> torch.Tensor:
    """The latents, those of pictures that no level let pass hidden as the artist chose."""
    failed = [i for i, way in enumerate(ways) if not way.passed]
    if eye.hide in UNCHANGED or not failed:
        return latents
    latents = latents.clone()
    for i in failed:  # one by one, as models of videos take several pictures for one
        covered = hidden(images[i][..., :3], ways[i].tried[-1].look, eye.hide)[None]
        latents[i] = host.to_intermediate(eye.vae.encode(covered)).reshape(latents[i].shape).to(latents)
    return latents


def looks_of(ways: list[Ascent]) -> list[dict[str, Any]]:
    """For the report: by picture where it ended, whether it passed, and every look."""
    return [
        {
            "safety": way.level,
            "passed": way.passed,
            "safe_prompt": way.words,
            "against": way.names,
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
        for way in ways
    ]


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
        words = f' with "{way.words}"' if way.words else ""
        words += f" against {', '.join(filter(None, way.names))}" if any(way.names) else ""
        lines.append(f"{begin}{'; '.join([*seen, f'at safety {way.level:g}{words} {end}'])}.")
    return lines
