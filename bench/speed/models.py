"""The models that are timed: the demo model, and networks of SD1.5's and SDXL's shapes with random weights.

The large ones are the host's own classes with the published networks' arguments. What they draw is noise; what a row of
evaluation costs is what it costs with trained weights. Their prompts are the demo model's, with zeros up to the width
that the network takes: every angle between words stays as it is, so every method finds in the prompt what it finds on
the demo model, and asks for the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.demo_session import DemoSession

CELLS_512 = 64  # a side of the latents of 512 x 512 pixels
PROMPT = "a cat and a dagger on a green background"
_SPARE = 2 * 2**30  # bytes beside the weights, to fill them and to run

# Beside what the host's own classes say of them.
_UNET = {"image_size": 32, "in_channels": 4, "out_channels": 4, "use_spatial_transformer": True, "legacy": False}
SD15_UNET = {
    **_UNET,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
}
SDXL_UNET = {
    **_UNET,
    "num_classes": "sequential",
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
}


@dataclass(frozen=True)
class Size:
    """A model size, and how it is measured.

    steps, repeats: on a CPU. whole: whether every case is measured on it, or those that a user meets first. kind: of
    the host's classes, in supported_models and model_base; without them it is the demo model. parameters: millions.
    pooled: width of the pooled text output.
    """

    title: str
    steps: int
    repeats: int
    whole: bool = False
    kind: tuple[str, str] = ("", "")
    unet: dict[str, Any] | None = None
    parameters: int = 0
    pooled: int = 0

    def needed(self, bytes_each: int) -> int:
        """Bytes of memory that the weights, and running them, take; 0 for the demo model."""
        return self.parameters * 1_000_000 * bytes_each + _SPARE if self.unet else 0


CELLS = 16  # the latents' side on a CPU
SIZES = {
    "demo": Size("the demo model", 20, 15, whole=True),
    "sd15": Size("SD1.5's shape, random weights", 10, 5, False, ("SD15", "BaseModel"), SD15_UNET, 860, 768),
    "sdxl": Size("SDXL's shape, random weights", 6, 3, False, ("SDXL", "SDXL"), SDXL_UNET, 2567, 1280),
}


@dataclass
class Subject:
    """A model, and the prompts that it is run with. nodes: the pack's, by id."""

    nodes: dict[str, Any]
    model: Any
    clip: Any
    positive: list[Any]
    safe: list[Any]
    negative: list[Any]
    concepts: str
    categories: str

    @property
    def channels(self) -> int:
        return int(self.model.model.latent_format.latent_channels)


def subject(session: DemoSession, size: Size, dtype: Any) -> Subject:
    """What is measured at this size. dtype: of random weights."""
    from demo import world

    model, clip = session.model, session.clip
    if size.unet is not None:
        model = random_model(size, dtype)
        clip = wide_clip(model.model.model_config.unet_config["context_dim"], size.pooled)
    categories = "\n".join(", ".join(world.KIND_PHRASES[kind]) for kind in world.UNSAFE_KINDS)
    encode = session.nodes["SafelightContextEncode"]().encode
    positive, safe = encode(clip, PROMPT, concepts=world.CONCEPTS, method="project")["result"][:2]
    negative = session.encode("", clip)
    return Subject(session.nodes, model, clip, positive, safe, negative, world.CONCEPTS, categories)


def random_model(size: Size, dtype: Any) -> Any:
    """A MODEL of the host's own classes with seeded random weights of a size that keeps the signal's."""
    import comfy.model_base
    import comfy.model_management as management
    import comfy.model_patcher
    import comfy.supported_models
    import torch

    kind = getattr(comfy.supported_models, size.kind[0])
    config = kind({**kind.unet_config, **(size.unet or {}), "dtype": dtype})
    network = getattr(comfy.model_base, size.kind[1])(config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in network.diffusion_model.named_parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
        else:
            parameter.data.normal_(0.0 if name.endswith("bias") else 1.0, 0.1, generator=generator)
    network.requires_grad_(False).eval()
    devices = {"load_device": management.get_torch_device(), "offload_device": management.unet_offload_device()}
    return comfy.model_patcher.ModelPatcher(network, **devices)


def wide_clip(width: int, pooled_width: int) -> Any:
    """The demo model's text encoder, its states [1, T, 128] filled up with zeros to [1, T, width]."""
    from torch.nn.functional import pad

    from demo import loader

    clip = loader.load()[1]
    encoder = clip.cond_stage_model
    encode = encoder.encode_token_weights

    def widened(tokens: Any) -> tuple[Any, ...]:
        states, pooled, *more = encode(tokens)
        return pad(states, (0, width - states.shape[-1])), pad(pooled, (0, pooled_width - pooled.shape[-1])), *more

    encoder.encode_token_weights = widened
    return clip
