"""What is timed, and on which models: every way to sample with the pack, each against the stock KSampler.

The models are the demo model, and networks of SD1.5's and SDXL's shapes with random weights: the host's own classes.
What those draw is noise; what a row of evaluation costs is what it costs with trained weights. Their prompts are the
demo model's, with zeros up to the width that the network takes: every angle between words stays as it is, so every
method finds in the prompt what it finds on the demo model, and asks for the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from bench.demo_session import CFG, SAMPLER, SCHEDULER, SEED, DemoSession
from bench.methods import TEXTS
from demo import world
from safelight.guidance.selective import Selection

PROMPT = "a cat and a dagger on a green background"
POOLED = 1280  # width of SDXL's pooled text output; SD1.5's network takes none
STOCK = "stock KSampler"
MIDDLE = 0.5
HALF = f"safety {MIDDLE:g}"
STRIP_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Size(NamedTuple):
    """steps, repeats: on a CPU. kind: the host's class in supported_models; without one it is the demo model.
    depths: transformer blocks at each resolution of the network. millions: of parameters."""

    title: str
    steps: int
    repeats: int
    kind: str = ""
    depths: tuple[int, ...] = ()
    millions: int = 0


SIZES = {
    "demo": Size("the demo model", 20, 15),
    "sd15": Size("SD1.5's shape, random weights", 10, 5, "SD15", (1, 1, 1, 0), 860),
    "sdxl": Size("SDXL's shape, random weights", 6, 3, "SDXL", (0, 2, 10), 2567),
}


@dataclass(frozen=True)
class Job:
    """A model with its prompts, and what is asked of it: how many pictures at once, steps, and the latents' side."""

    nodes: dict[str, Any]  # the pack's, by id
    model: Any
    clip: Any
    positive: list[Any]
    safe: list[Any]
    negative: list[Any]
    batch: int = 1
    steps: int = 20
    cells: int = 16

    def latent(self) -> dict[str, Any]:
        channels = self.model.model.latent_format.latent_channels
        return {"samples": torch.zeros(self.batch, channels, self.cells, self.cells)}


def load(session: DemoSession, size: Size, dtype: torch.dtype) -> Job:
    """dtype: of random weights."""
    model, clip = session.model, session.clip
    if size.kind:
        model = random_model(size, dtype)
        clip = wide_clip(model.model.model_config.unet_config["context_dim"])
    encode = session.nodes["SafelightContextEncode"]().encode
    positive, safe = encode(clip, PROMPT, concepts=world.CONCEPTS, method="project")["result"][:2]
    return Job(session.nodes, model, clip, positive, safe, session.encode("", clip))


def random_model(size: Size, dtype: torch.dtype) -> Any:
    """A MODEL with seeded random weights of a size that keeps the signal's."""
    import comfy.model_management as management
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    kind = getattr(comfy.supported_models, size.kind)
    network = kind({**kind.unet_config, **unet(size), "dtype": dtype}).get_model({})
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.diffusion_model.named_parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.data.normal_(0.0 if name.endswith("bias") else 1.0, 0.1, generator=generator)
    network.requires_grad_(False).eval()
    return ModelPatcher(network, management.get_torch_device(), management.unet_offload_device())


def unet(size: Size) -> dict[str, Any]:
    """What the host's own class leaves open of the network."""
    levels = len(size.depths)
    return {
        **{"image_size": 32, "in_channels": 4, "out_channels": 4, "use_spatial_transformer": True, "legacy": False},
        **{"num_res_blocks": [2] * levels, "channel_mult": [1, 2, 4, 4][:levels]},
        "num_classes": "sequential" if size.kind == "SDXL" else None,
        "transformer_depth": [depth for depth in size.depths for _ in range(2)],
        "transformer_depth_output": [depth for depth in size.depths for _ in range(3)],
        "transformer_depth_middle": max(size.depths),
    }


def wide_clip(width: int) -> Any:
    """The demo model's text encoder, its states [1, T, 128] filled up with zeros to [1, T, width]."""
    from demo import loader

    clip = loader.load()[1]
    encode = clip.cond_stage_model.encode_token_weights

    def widened(tokens: Any) -> tuple[Any, ...]:
        states, pooled, *more = encode(tokens)
        return pad(states, (0, width - states.shape[-1])), pad(pooled, (0, POOLED - pooled.shape[-1])), *more

    clip.cond_stage_model.encode_token_weights = widened
    return clip


Run = Callable[[], Any]
Make = Callable[[Job], Run]


class Case(NamedTuple):
    """first: whether a user meets it first, so that it is measured at every size."""

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

    given = SEED, job.steps, CFG, SAMPLER, SCHEDULER, job.positive, job.negative
    return lambda: KSampler().sample(model or job.model, *given, job.latent())[0]["samples"]


def ksampler(safety: float, preset: str = "", **inputs: Any) -> Make:
    """SafelightKSampler. preset: of SafelightWeightSchedule; without one, the node's default."""

    def make(job: Job) -> Run:
        schedule = job.nodes["SafelightWeightSchedule"]().make(preset, 0.2, "noise level")[0] if preset else None
        return _pack_node(job, "SafelightKSampler", (), safety, schedule=schedule, **inputs)

    return make


def strip(job: Job) -> Run:
    return _pack_node(job, "SafelightStrip", (_NoVae(),), ", ".join(f"{level:g}" for level in STRIP_LEVELS))


def singles(job: Job) -> Run:
    """One run of SafelightKSampler for each level of the strip."""
    runs = [ksampler(level)(job) for level in STRIP_LEVELS]
    return lambda: [run() for run in runs]


class _NoVae:
    """In the strip's VAE's place: decoding is timed nowhere."""

    def decode(self, latents: Any) -> Any:
        return latents.new_zeros(len(latents), *latents.shape[2:], 3)


def _pack_node(job: Job, name: str, vae: tuple[Any, ...], level: float | str, **inputs: Any) -> Run:
    node, conds = job.nodes[name](), (job.positive, job.safe, job.negative)
    settings = SEED, job.steps, CFG, SAMPLER, SCHEDULER, 1.0, level
    return lambda: node.sample(job.model, *conds, *vae, job.latent(), *settings, **inputs)["result"]


def guider(name: str, takes: tuple[str, ...] = ("clip",), **inputs: Any) -> Make:
    """A guider node's guider, run as the KSampler node runs its own: with its noise, sigmas and step callback.

    takes: what it gets of the job, beside the model and the prompts.
    """

    def make(job: Job) -> Run:
        import comfy.samplers

        from safelight.engine import host
        from safelight.engine.ksampler import stock_sampler

        model, steps = job.model, job.steps
        given = {"model": model, "positive": job.positive, "negative": job.negative, "cfg": CFG, **inputs}
        chosen = job.nodes[f"Safelight{name}"]().guide(**given, **{each: getattr(job, each) for each in takes})[0]

        def run() -> Any:
            samples = host.fix_empty_latent(model, job.latent())
            noise = host.make_noise(samples, SEED, None, False)
            sigmas = stock_sampler(model, steps, SAMPLER, SCHEDULER).sigmas
            shown = {"callback": host.preview_callback(model, steps), "disable_pbar": host.progress_bar_disabled()}
            return chosen.sample(noise, samples, comfy.samplers.sampler_object(SAMPLER), sigmas, seed=SEED, **shown)

        return run

    return make


def patch(job: Job) -> Run:
    return stock(job, job.nodes["SafelightModelPatch"]().patch(job.model, job.safe, MIDDLE)[0])


def safree(variant: str) -> Make:
    return guider("SAFREEGuider", prompt=PROMPT, concepts=world.CONCEPTS, variant=variant)


ONE, SINGLES = f"one run at {HALF}", "five single runs"
AGAINST: dict[str, Make] = {STOCK: stock, ONE: ksampler(MIDDLE), SINGLES: singles}
PRESETS = ("gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell")
ALL = (
    Case("the stock KSampler again", stock, first=True),
    Case("gate closed", ksampler(1.0, risk=0.0), first=True),
    Case("slider 0", ksampler(0.0), first=True),
    *(Case(f"{name}, {HALF}", ksampler(MIDDLE, name), first=name in ("balanced", "maximum")) for name in PRESETS),
    *(Case(f"{name}, safety 1", ksampler(1.0, name), first=name == "balanced") for name in PRESETS),
    Case(f"merge separate, {HALF}", ksampler(MIDDLE, merge="separate"), first=True),
    Case(f"selective, {HALF}", ksampler(MIDDLE, selective=Selection()), first=True),
    Case("selective, safety 1", ksampler(1.0, selective=Selection())),
    Case(f"guider, {HALF}", guider("Guider", ("safe",), safety=MIDDLE)),
    Case(f"model patch, {HALF}", patch),
    *(Case(f"economy {kind}, {HALF}", ksampler(MIDDLE, economy=kind), first=True) for kind in ("balanced", "free")),
    *(Case("strip of 5", strip, first=against == ONE, against=against) for against in AGAINST),
    Case("SLD weak", guider("SLDGuider", preset="weak", **TEXTS["SLD"])),
    Case("SLD medium", guider("SLDGuider", preset="medium", **TEXTS["SLD"]), first=True),
    Case("SLD max", guider("SLDGuider", preset="max", **TEXTS["SLD"])),
    Case("CASG", guider("CASGGuider", **TEXTS["CASG"]), first=True),
    Case("TraSCE", guider("TraSCEGuider", **TEXTS["TraSCE"]), first=True),
    Case("SAFREE as released", safree("as released"), first=True),
    Case("SAFREE as printed", safree("as printed")),
)
GROWING = (f"balanced, {HALF}", f"economy free, {HALF}", "SLD medium", "CASG")
