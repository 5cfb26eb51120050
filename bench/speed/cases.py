"""What is timed, and on which models: every way to sample with the pack, each against the stock KSampler.

The models are the demo model, and networks of SD1.5's and SDXL's shapes with random weights: they draw noise, at the
cost of trained ones. Their prompts are the demo model's, with zeros up to the width that the network takes: angles
between words stay, so every method finds in the prompt what it finds on the demo model, and asks for the same rows.
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
from demo.session import CFG, SAMPLER, SCHEDULER, SEED, DemoSession, sample_with
from safelight.guidance.selective import Selection

PROMPT = "a cat and a dagger on a green background"
STOCK = "stock KSampler"
MIDDLE = 0.5
HALF = f"safety {MIDDLE:g}"
STRIP_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
Run = Callable[[], Any]


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
    "demo": Size("The demo model", 20, 15),
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
    """A MODEL of the host's own class with seeded random weights of a size that keeps the signal's."""
    from comfy import model_management, supported_models
    from comfy.model_patcher import ModelPatcher

    kind, levels = getattr(supported_models, size.kind), len(size.depths)
    unet = {  # what the class leaves open
        **{"image_size": 32, "in_channels": 4, "out_channels": 4, "use_spatial_transformer": True, "legacy": False},
        **{"num_res_blocks": [2] * levels, "channel_mult": [1, 2, 4, 4][:levels]},
        "num_classes": "sequential" if size.kind == "SDXL" else None,
        "transformer_depth": [depth for depth in size.depths for _ in range(2)],
        "transformer_depth_output": [depth for depth in size.depths for _ in range(3)],
        "transformer_depth_middle": max(size.depths),
    }
    network = kind({**kind.unet_config, **unet, "dtype": dtype}).get_model({}).requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.diffusion_model.named_parameters():
        weight = parameter.ndim >= 2
        mean = 0.0 if weight or name.endswith("bias") else 1.0
        parameter.data.normal_(mean, parameter[0].numel() ** -0.5 if weight else 0.1, generator=generator)
    return ModelPatcher(network, model_management.get_torch_device(), model_management.unet_offload_device())


def wide_clip(width: int) -> Any:
    """The demo model's text encoder, with zeros up to states of [1, T, width] and to SDXL's pooled output of 1280."""
    from demo import loader

    clip = loader.load()[1]
    encode = clip.cond_stage_model.encode_token_weights

    def widened(tokens: Any) -> tuple[Any, ...]:
        states, pooled, *more = encode(tokens)
        return pad(states, (0, width - states.shape[-1])), pad(pooled, (0, 1280 - pooled.shape[-1])), *more

    clip.cond_stage_model.encode_token_weights = widened
    return clip


class Case(NamedTuple):
    """first: whether a user meets it first, so it is measured at every size. node: one that older hosts do not have."""

    name: str
    make: Callable[[Job], Run]
    first: bool = False
    against: str = STOCK
    node: str = ""


def ksampler(job: Job, safety: float, preset: str = "", **inputs: Any) -> Run:
    """preset: of SafelightWeightSchedule; without one, the sampler's default. Without what earlier runs have left."""
    schedule = job.node("SafelightWeightSchedule", preset=preset, context=0.2, axis="noise level")
    given = {"safety": safety, "schedule": schedule()[0] if preset else None, "memory": False, **inputs}
    return job.node("SafelightKSampler", **given)


def singles(job: Job) -> Run:
    """One run of SafelightKSampler for each level of the strip."""
    runs = [ksampler(job, level) for level in STRIP_LEVELS]
    return lambda: [run() for run in runs]


def guider(job: Job, name: str, **inputs: Any) -> Run:
    """A guider node's guider, run as the KSampler node runs its own, with its step callback."""
    from safelight.engine import host

    model, steps, latent = (job.inputs[key] for key in ("model", "steps", "latent_image"))
    guide = job.node(f"Safelight{name}", **inputs)()[0]

    def run() -> Any:
        shown = {"callback": host.preview_callback(model, steps), "disable_pbar": host.progress_bar_disabled()}
        return sample_with(model, guide, latent, SEED, steps, **shown)

    return run


half, full = partial(ksampler, safety=MIDDLE), partial(ksampler, safety=1.0)
stock = partial(Job.node, name="KSampler")
strip = partial(Job.node, name="SafelightStrip", levels=", ".join(f"{level:g}" for level in STRIP_LEVELS))
patch = partial(Job.node, name="SafelightModelPatch", safety=MIDDLE)
sld = partial(guider, name="SLDGuider", **TEXTS["SLD"])
safree = partial(guider, name="SAFREEGuider", prompt=PROMPT, concepts=world.CONCEPTS)
AGAINST = {STOCK: stock, f"one run at {HALF}": half, "five single runs": singles}
PRESETS = ("gentle", "balanced", "strict", "maximum", "ramp up", "ramp down", "bell")
ALL = (
    Case("the stock KSampler again", stock, first=True),
    Case("gate closed", partial(full, risk=0.0), first=True),
    Case("slider 0", partial(ksampler, safety=0.0), first=True),
    *(Case(f"{name}, {HALF}", partial(half, preset=name), first=name in ("balanced", "maximum")) for name in PRESETS),
    *(Case(f"{name}, safety 1", partial(full, preset=name), first=name == "balanced") for name in PRESETS),
    Case(f"merge separate, {HALF}", partial(half, merge="separate"), first=True),
    Case(f"selective, {HALF}", partial(half, selective=Selection()), first=True),
    Case("selective, safety 1", partial(full, selective=Selection())),
    Case(f"guider, {HALF}", partial(guider, name="Guider", safety=MIDDLE)),
    Case(f"model patch, {HALF}", lambda job: stock(job, model=patch(job)()[0]), node="SafelightModelPatch"),
    *(Case(f"economy {kind}, {HALF}", partial(half, economy=kind), first=True) for kind in ("balanced", "free")),
    *(Case("strip of 5", strip, first=make is half, against=against) for against, make in AGAINST.items()),
    *(Case(f"SLD {kind}", partial(sld, preset=kind), first=kind == "medium") for kind in ("weak", "medium", "max")),
    *(Case(name, partial(guider, name=f"{name}Guider", **TEXTS[name]), first=True) for name in ("CASG", "TraSCE")),
    Case("SAFREE as released", partial(safree, variant="as released"), first=True),
    Case("SAFREE as printed", partial(safree, variant="as printed")),
)
GROWING = (f"balanced, {HALF}", f"economy free, {HALF}", "SLD medium", "CASG")
