"""What is timed: every way to sample with the pack, each against the stock KSampler.

A case makes, once, what a graph has at hand when the sampler starts (a guider with its texts encoded, a patched model,
a schedule), and returns the run alone. One line a case.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.studio import CFG, SAMPLER, SCHEDULER, SEED

from .models import PROMPT, Subject

Run = Callable[[], Any]
STOCK = "stock KSampler"
MIDDLE = 0.5
STRIP_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Job:
    """One way to ask: a model with its prompts, how many pictures at once, how many steps, the latents' side."""

    subject: Subject
    batch: int
    steps: int
    cells: int

    def latent(self) -> dict[str, Any]:
        import torch

        return {"samples": torch.zeros(self.batch, self.subject.channels, self.cells, self.cells)}

    def node(self, name: str) -> Any:
        return self.subject.nodes[name]()


@dataclass(frozen=True)
class Case:
    """make: from a Job, the run. against: what it is compared with. first: whether a user meets it first, so that it
    is measured at every size. node, widget: without them in the pack, or on this host, there is no such case."""

    name: str
    make: Callable[[Job], Run]
    against: str = STOCK
    first: bool = False
    node: str = "SafelightKSampler"
    widget: str = "safety"

    def is_there(self, nodes: dict[str, Any]) -> bool:
        if self.node not in nodes:
            return False
        inputs = nodes[self.node].INPUT_TYPES()
        return self.widget in {**inputs.get("required", {}), **inputs.get("optional", {})}


def stock(job: Job, model: Any = None) -> Run:
    """The host's own KSampler node."""
    try:
        from comfy.nodes.base_nodes import KSampler  # the package index build
    except ImportError:
        from nodes import KSampler  # type: ignore[attr-defined,no-redef]

    node, it = KSampler(), job.subject
    model = it.model if model is None else model
    return lambda: node.sample(
        model, SEED, job.steps, CFG, SAMPLER, SCHEDULER, it.positive, it.negative, job.latent()
    )[0]["samples"]  # fmt: skip


def ksampler(safety: float, preset: str = "", **inputs: Any) -> Callable[[Job], Run]:
    """SafelightKSampler. preset: of SafelightWeightSchedule; without one, the node's default."""

    def make(job: Job) -> Run:
        it, node = job.subject, job.node("SafelightKSampler")
        given = {**inputs, **({"schedule": schedule(job, preset)} if preset else {})}
        return lambda: node.sample(
            it.model, it.positive, it.safe, it.negative, job.latent(), SEED, job.steps, CFG, SAMPLER, SCHEDULER, 1.0,
            safety, **given,
        )["result"][0]["samples"]  # fmt: skip

    return make


def schedule(job: Job, preset: str) -> Any:
    return job.node("SafelightWeightSchedule").make(preset, 0.2, "noise level")[0]


def selective(safety: float) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        node = job.subject.nodes["SafelightSelective"]
        defaults = {name: spec[1]["default"] for name, spec in node.INPUT_TYPES()["required"].items()}
        chosen = getattr(node(), node.FUNCTION)(**defaults)[0]
        return ksampler(safety, selective=chosen)(job)

    return make


def by_guider(guider: Any, job: Job) -> Run:
    """A guider run as the KSampler node runs its own: with its noise, noise levels and step callback."""
    import comfy.samplers

    host, sampling = (sys.modules[f"safelight_pack.nodes.{name}"] for name in ("host", "sampling"))
    model = job.subject.model

    def run() -> Any:
        latent = job.latent()
        samples = host.fix_empty_latent(model, latent)
        noise = host.make_noise(samples, SEED, None, False)
        sigmas = sampling.stock_sampler(model, job.steps, SAMPLER, SCHEDULER).sigmas
        return guider.sample(
            noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas,
            callback=host.preview_callback(model, job.steps), disable_pbar=host.progress_bar_disabled(), seed=SEED,
        )  # fmt: skip

    return run


def guider(safety: float) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        it, node = job.subject, job.node("SafelightGuider")
        return by_guider(node.guide(it.model, it.positive, it.safe, it.negative, CFG, safety)[0], job)

    return make


def patch(safety: float) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        it = job.subject
        return stock(job, job.node("SafelightModelPatch").patch(it.model, it.safe, safety)[0])

    return make


def sld(preset: str) -> Callable[[Job], Run]:
    return _noise("SLD", lambda it: {"concept": it.concepts, "preset": preset})


def casg() -> Callable[[Job], Run]:
    return _noise("CASG", lambda it: {"categories": it.categories})


def trasce() -> Callable[[Job], Run]:
    return _noise("TraSCE", lambda it: {"concept": it.concepts})


def _noise(name: str, settings: Callable[[Subject], dict[str, Any]]) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        it, node = job.subject, job.node(f"Safelight{name}Guider")
        return by_guider(node.guide(it.model, it.clip, it.positive, it.negative, CFG, **settings(it))[0], job)

    return make


def safree(variant: str) -> Callable[[Job], Run]:
    def make(job: Job) -> Run:
        it, node = job.subject, job.node("SafelightSAFREEGuider")
        settings = {"concepts": it.concepts, "variant": variant}
        return by_guider(node.guide(it.model, it.clip, it.positive, PROMPT, it.negative, CFG, **settings)[0], job)

    return make


class _NoVae:
    """In the strip's VAE's place: decoding is timed nowhere."""

    def decode(self, latents: Any) -> Any:
        return latents.new_zeros(len(latents), *latents.shape[2:], 3)


def strip(job: Job) -> Run:
    """SafelightStrip at STRIP_LEVELS."""
    it, node = job.subject, job.node("SafelightStrip")
    levels = ", ".join(f"{level:g}" for level in STRIP_LEVELS)
    return lambda: node.sample(
        it.model, it.positive, it.safe, it.negative, _NoVae(), job.latent(), SEED, job.steps, CFG, SAMPLER, SCHEDULER,
        1.0, levels,
    )["result"][2]["samples"]  # fmt: skip


def singles(job: Job) -> Run:
    """One run of SafelightKSampler for each level of the strip."""
    runs = [ksampler(level)(job) for level in STRIP_LEVELS]
    return lambda: [run() for run in runs]


ONE, SINGLES = f"one run at safety {MIDDLE:g}", "five single runs"
AGAINST: dict[str, Callable[[Job], Run]] = {STOCK: stock, ONE: ksampler(MIDDLE), SINGLES: singles}
ECONOMIES = ("balanced", "free")
PRESETS = ("gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell")
AGAIN, GATE_CLOSED, SLIDER_0, STRIP = "the stock KSampler again", "gate closed", "slider 0", "strip of 5"
DEFAULT = f"balanced, safety {MIDDLE:g}"
ALL = (
    Case(AGAIN, stock, first=True),
    Case(GATE_CLOSED, ksampler(1.0, risk=0.0), first=True),
    Case(SLIDER_0, ksampler(0.0), first=True),
    *(Case(f"{name}, safety {MIDDLE:g}", ksampler(MIDDLE, name), first=name in ("balanced", "maximum"))
      for name in PRESETS),
    *(Case(f"{name}, safety 1", ksampler(1.0, name), first=name == "balanced") for name in PRESETS),
    Case(f"merge separate, safety {MIDDLE:g}", ksampler(MIDDLE, merge="separate"), first=True),
    Case(f"selective, safety {MIDDLE:g}", selective(MIDDLE), first=True, widget="selective"),
    Case("selective, safety 1", selective(1.0), widget="selective"),
    Case(f"guider, safety {MIDDLE:g}", guider(MIDDLE), node="SafelightGuider"),
    Case(f"model patch, safety {MIDDLE:g}", patch(MIDDLE), node="SafelightModelPatch"),
    *(Case(f"economy {kind}, safety {MIDDLE:g}", ksampler(MIDDLE, economy=kind), first=True, widget="economy")
      for kind in ECONOMIES),
    *(Case(STRIP, strip, against, first=against == ONE, node="SafelightStrip", widget="levels")
      for against in (STOCK, ONE, SINGLES)),
    *(Case(f"SLD {preset}", sld(preset), first=preset == "medium", node="SafelightSLDGuider", widget="preset")
      for preset in ("weak", "medium", "max")),
    Case("CASG", casg(), first=True, node="SafelightCASGGuider", widget="categories"),
    Case("TraSCE", trasce(), first=True, node="SafelightTraSCEGuider", widget="concept"),
    Case("SAFREE as released", safree("as released"), first=True, node="SafelightSAFREEGuider", widget="variant"),
    Case("SAFREE as printed", safree("as printed"), node="SafelightSAFREEGuider", widget="variant"),
)  # fmt: skip
IN_SHORT = (
    (GATE_CLOSED, STOCK), (SLIDER_0, STOCK), (DEFAULT, STOCK), ("balanced, safety 1", STOCK),
    *((f"economy {kind}, safety {MIDDLE:g}", STOCK) for kind in ECONOMIES), (STRIP, ONE), (STRIP, SINGLES),
)  # fmt: skip
GROWING = (DEFAULT, f"economy free, safety {MIDDLE:g}", "SLD medium", "CASG")


def chosen(nodes: dict[str, Any], whole: bool) -> list[Case]:
    """Those that this pack on this host has; only a user's first ones unless `whole`."""
    return [case for case in ALL if case.is_there(nodes) and (whole or case.first)]
