"""What is timed, and on which models: every way to sample with the pack, each against the stock KSampler.

The models are the demo model, and networks of SD1.5's and SDXL's shapes with random weights: the host's own classes.
What those draw is noise; what a row of evaluation costs is what it costs with trained weights. Their prompts are the
demo model's, with zeros up to the width that the network takes: every angle between words stays as it is, so every
method finds in the prompt what it finds on the demo model, and asks for the same rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from bench.methods import TEXTS
from demo import world
from demo.session import CFG, SAMPLER, SCHEDULER, SEED, DemoSession
from safelight.guidance.selective import Selection

PROMPT = "a cat and a dagger on a green background"
POOLED = 1280  # width of SDXL's pooled text output; SD1.5's network takes none
STOCK = "stock KSampler"
MIDDLE = 0.5
HALF = f"safety {MIDDLE:g}"
STRIP_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
Run = Callable[[], Any]
Make = Callable[["Job"], Run]


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


class Job(NamedTuple):
    """nodes: the host's KSampler and the pack's, by id. inputs: what they may take, by the inputs' names."""

    nodes: dict[str, Any]
    inputs: dict[str, Any]

    def asked(self, batch: int, steps: int, cells: int) -> Job:
        """For so many pictures at once; cells: the latents' side."""
        channels = self.inputs["model"].model.latent_format.latent_channels
        latent = {"samples": torch.zeros(batch, channels, cells, cells)}
        return Job(self.nodes, {**self.inputs, "steps": steps, "latent_image": latent})

    def node(self, name: str, **inputs: Any) -> Run:
        """A node's work with those of the job's inputs that it takes, and further ones."""
        node = self.nodes[name]()
        work = getattr(node, node.FUNCTION)
        takes = inspect.signature(work).parameters
        return partial(work, **{**{key: value for key, value in self.inputs.items() if key in takes}, **inputs})


def load(session: DemoSession, size: Size, dtype: torch.dtype) -> Job:
    """dtype: of random weights."""
    model, clip = session.model, session.clip
    if size.kind:
        model = random_model(size, dtype)
        clip = wide_clip(model.model.model_config.unet_config["context_dim"])
    encode = session.nodes["SafelightContextEncode"]().encode
    positive, safe = encode(clip, PROMPT, concepts=world.CONCEPTS, method="project")["result"][:2]
    try:
        from comfy.nodes.base_nodes import KSampler  # the package index build
    except ImportError:
        from nodes import KSampler  # type: ignore[attr-defined,no-redef]
    texts = {"positive": positive, "safe": safe, "negative": session.encode("", clip)}
    sampling = {"seed": SEED, "cfg": CFG, "sampler_name": SAMPLER, "scheduler": SCHEDULER, "denoise": 1.0}
    undecoded = SimpleNamespace(decode=lambda latents: latents.new_zeros(len(latents), *latents.shape[2:], 3))
    inputs = {"model": model, "clip": clip, "vae": undecoded, "prompt": PROMPT, **texts, **sampling}
    return Job({**session.nodes, "KSampler": KSampler}, inputs)


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


class Case(NamedTuple):
    """first: whether a user meets it first, so it is measured at every size. node: one that older hosts do not have."""

    name: str
    make: Make
    first: bool = False
    against: str = STOCK
    node: str = ""


def stock(job: Job) -> Run:
    return job.node("KSampler")


def ksampler(safety: float, preset: str = "", **inputs: Any) -> Make:
    """preset: of SafelightWeightSchedule; without one, the sampler's default."""

    def make(job: Job) -> Run:
        asked = {"preset": preset, "context": 0.2, "axis": "noise level"}
        schedule = job.node("SafelightWeightSchedule", **asked)()[0] if preset else None
        return job.node("SafelightKSampler", safety=safety, schedule=schedule, **inputs)

    return make


def strip(job: Job) -> Run:
    return job.node("SafelightStrip", levels=", ".join(f"{level:g}" for level in STRIP_LEVELS))


def singles(job: Job) -> Run:
    """One run of SafelightKSampler for each level of the strip."""
    runs = [ksampler(level)(job) for level in STRIP_LEVELS]
    return lambda: [run() for run in runs]


def patch(job: Job) -> Run:
    return job.node("KSampler", model=job.node("SafelightModelPatch", safety=MIDDLE)()[0])


def guider(name: str, **inputs: Any) -> Make:
    """A guider node's guider, run as the KSampler node runs its own: with its noise, sigmas and step callback."""

    def make(job: Job) -> Run:
        import comfy.samplers

        from safelight.engine import host
        from safelight.engine.ksampler import stock_sampler

        model, steps, latent = (job.inputs[key] for key in ("model", "steps", "latent_image"))
        guide = job.node(f"Safelight{name}", **inputs)()[0]
        sampler = comfy.samplers.sampler_object(SAMPLER)

        def run() -> Any:
            samples = host.fix_empty_latent(model, latent)
            noise = host.make_noise(samples, SEED, None, False)
            sigmas = stock_sampler(model, steps, SAMPLER, SCHEDULER).sigmas
            shown = {"callback": host.preview_callback(model, steps), "disable_pbar": host.progress_bar_disabled()}
            return guide.sample(noise, samples, sampler, sigmas, seed=SEED, **shown)

        return run

    return make


ONE, SINGLES = f"one run at {HALF}", "five single runs"
AGAINST: dict[str, Make] = {STOCK: stock, ONE: ksampler(MIDDLE), SINGLES: singles}
PRESETS = ("gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell")
SLD = ("weak", "medium", "max")
ALL = (
    Case("the stock KSampler again", stock, first=True),
    Case("gate closed", ksampler(1.0, risk=0.0), first=True),
    Case("slider 0", ksampler(0.0), first=True),
    *(Case(f"{name}, {HALF}", ksampler(MIDDLE, name), first=name in ("balanced", "maximum")) for name in PRESETS),
    *(Case(f"{name}, safety 1", ksampler(1.0, name), first=name == "balanced") for name in PRESETS),
    Case(f"merge separate, {HALF}", ksampler(MIDDLE, merge="separate"), first=True),
    Case(f"selective, {HALF}", ksampler(MIDDLE, selective=Selection()), first=True),
    Case("selective, safety 1", ksampler(1.0, selective=Selection())),
    Case(f"guider, {HALF}", guider("Guider", safety=MIDDLE)),
    Case(f"model patch, {HALF}", patch, node="SafelightModelPatch"),
    *(Case(f"economy {kind}, {HALF}", ksampler(MIDDLE, economy=kind), first=True) for kind in ("balanced", "free")),
    *(Case("strip of 5", strip, first=against == ONE, against=against) for against in AGAINST),
    *(Case(f"SLD {name}", guider("SLDGuider", preset=name, **TEXTS["SLD"]), first=name == "medium") for name in SLD),
    Case("CASG", guider("CASGGuider", **TEXTS["CASG"]), first=True),
    Case("TraSCE", guider("TraSCEGuider", **TEXTS["TraSCE"]), first=True),
    Case("SAFREE as released", guider("SAFREEGuider", variant="as released", concepts=world.CONCEPTS), first=True),
    Case("SAFREE as printed", guider("SAFREEGuider", variant="as printed", concepts=world.CONCEPTS)),
)
GROWING = (f"balanced, {HALF}", f"economy free, {HALF}", "SLD medium", "CASG")
