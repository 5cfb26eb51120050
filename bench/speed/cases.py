"""What is timed: every way to sample with the pack, each against the stock KSampler.

A case makes, once, what a graph has at hand when the sampler starts (a guider with its texts encoded, a patched model,
a schedule), and returns the run alone. One line per case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.demo_session import CFG, SAMPLER, SCHEDULER, SEED

from .models import PROMPT, Subject

Run = Callable[[], Any]
STOCK = "stock KSampler"
MIDDLE = 0.5
STRIP_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Job:
    """One way to ask: a model with its prompts, how many pictures at once, how many steps, the latents' side."""

    load: Callable[[], Subject]
    batch: int
    steps: int
    cells: int

    @property
    def subject(self) -> Subject:
        return self.load()

    def latent(self) -> dict[str, Any]:
        import torch

        return {"samples": torch.zeros(self.batch, self.subject.channels, self.cells, self.cells)}

    def node(self, name: str) -> Any:
        return self.subject.nodes[name]()


Make = Callable[[Job], Run]


@dataclass(frozen=True)
class Case:
    """make: from a Job, the run. first: whether a user meets it first, so that it is measured at every size."""

    name: str
    make: Make
    first: bool = False
    against: str = STOCK


def stock(job: Job, model: Any = None) -> Run:
    """The host's own KSampler node. model: in the place of the job's."""
    try:
        from comfy.nodes.base_nodes import KSampler  # the package index build
    except ImportError:
        from nodes import KSampler  # type: ignore[attr-defined,no-redef]

    it, settings = job.subject, (SEED, job.steps, CFG, SAMPLER, SCHEDULER)
    node, model = KSampler(), model or it.model
    return lambda: node.sample(model, *settings, it.positive, it.negative, job.latent())[0]["samples"]


def ksampler(safety: float, preset: str = "", **inputs: Any) -> Make:
    """SafelightKSampler. preset: of SafelightWeightSchedule; without one, the node's default."""

    def make(job: Job) -> Run:
        it, node = job.subject, job.node("SafelightKSampler")
        conds, settings = (it.positive, it.safe, it.negative), (SEED, job.steps, CFG, SAMPLER, SCHEDULER, 1.0, safety)
        schedule = job.node("SafelightWeightSchedule")
        given = {**inputs, "schedule": schedule.make(preset, 0.2, "noise level")[0] if preset else None}
        return lambda: node.sample(it.model, *conds, job.latent(), *settings, **given)["result"][0]["samples"]

    return make


def selective(safety: float) -> Make:
    def make(job: Job) -> Run:
        node = job.node("SafelightSelective")
        defaults = {name: spec[1]["default"] for name, spec in node.INPUT_TYPES()["required"].items()}
        return ksampler(safety, selective=getattr(node, node.FUNCTION)(**defaults)[0])(job)

    return make


def guider(node: str, inputs: Callable[[Subject], dict[str, Any]]) -> Make:
    """A guider node's guider, run as the KSampler node runs its own: with its noise, sigmas and step callback."""

    def make(job: Job) -> Run:
        import comfy.samplers

        from safelight.engine import host
        from safelight.engine.ksampler import stock_sampler

        it, steps = job.subject, job.steps
        guide = job.node(node).guide
        chosen = guide(model=it.model, positive=it.positive, negative=it.negative, cfg=CFG, **inputs(it))[0]

        def run() -> Any:
            samples = host.fix_empty_latent(it.model, job.latent())
            noise = host.make_noise(samples, SEED, None, False)
            sigmas = stock_sampler(it.model, steps, SAMPLER, SCHEDULER).sigmas
            shown = {"callback": host.preview_callback(it.model, steps), "disable_pbar": host.progress_bar_disabled()}
            return chosen.sample(noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas, seed=SEED, **shown)

        return run

    return make


def patch(safety: float) -> Make:
    return lambda job: stock(job, job.node("SafelightModelPatch").patch(job.subject.model, job.subject.safe, safety)[0])


class _NoVae:
    """In the strip's VAE's place: decoding is timed nowhere."""

    def decode(self, latents: Any) -> Any:
        return latents.new_zeros(len(latents), *latents.shape[2:], 3)


def strip(job: Job) -> Run:
    """SafelightStrip at STRIP_LEVELS."""
    it, node, levels = job.subject, job.node("SafelightStrip"), ", ".join(f"{level:g}" for level in STRIP_LEVELS)
    conds, settings = (it.positive, it.safe, it.negative), (SEED, job.steps, CFG, SAMPLER, SCHEDULER, 1.0, levels)
    return lambda: node.sample(it.model, *conds, _NoVae(), job.latent(), *settings)["result"][2]["samples"]


def singles(job: Job) -> Run:
    """One run of SafelightKSampler for each level of the strip."""
    runs = [ksampler(level)(job) for level in STRIP_LEVELS]
    return lambda: [run() for run in runs]


def sld(preset: str) -> Make:
    return guider("SafelightSLDGuider", lambda it: {"clip": it.clip, "concept": it.concepts, "preset": preset})


def safree(variant: str) -> Make:
    text = {"prompt": PROMPT, "variant": variant}
    return guider("SafelightSAFREEGuider", lambda it: {"clip": it.clip, "concepts": it.concepts, **text})


dual = guider("SafelightGuider", lambda it: {"safe": it.safe, "safety": MIDDLE})
casg = guider("SafelightCASGGuider", lambda it: {"clip": it.clip, "categories": it.categories})
trasce = guider("SafelightTraSCEGuider", lambda it: {"clip": it.clip, "concept": it.concepts})
ONE, SINGLES = f"one run at safety {MIDDLE:g}", "five single runs"
AGAINST: dict[str, Make] = {STOCK: stock, ONE: ksampler(MIDDLE), SINGLES: singles}
PRESETS = ("gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell")
HALF = f"safety {MIDDLE:g}"
ALL = (
    Case("the stock KSampler again", stock, first=True),
    Case("gate closed", ksampler(1.0, risk=0.0), first=True),
    Case("slider 0", ksampler(0.0), first=True),
    *(Case(f"{name}, {HALF}", ksampler(MIDDLE, name), first=name in ("balanced", "maximum")) for name in PRESETS),
    *(Case(f"{name}, safety 1", ksampler(1.0, name), first=name == "balanced") for name in PRESETS),
    Case(f"merge separate, {HALF}", ksampler(MIDDLE, merge="separate"), first=True),
    Case(f"selective, {HALF}", selective(MIDDLE), first=True),
    Case("selective, safety 1", selective(1.0)),
    Case(f"guider, {HALF}", dual),
    Case(f"model patch, {HALF}", patch(MIDDLE)),
    *(Case(f"economy {kind}, {HALF}", ksampler(MIDDLE, economy=kind), first=True) for kind in ("balanced", "free")),
    *(Case("strip of 5", strip, first=against == ONE, against=against) for against in AGAINST),
    *(Case(f"SLD {preset}", sld(preset), first=preset == "medium") for preset in ("weak", "medium", "max")),
    Case("CASG", casg, first=True),
    Case("TraSCE", trasce, first=True),
    Case("SAFREE as released", safree("as released"), first=True),
    Case("SAFREE as printed", safree("as printed")),
)
GROWING = (f"balanced, {HALF}", f"economy free, {HALF}", "SLD medium", "CASG")
