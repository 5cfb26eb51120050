"""Tiny random models of the host's own classes, and conditionings for them.

Every parameter is filled from a seed: the host leaves them uninitialised, and with its zero-initialised layers a fresh
model would ignore its conditioning, so that no test here could fail.
"""

from __future__ import annotations

import math
from typing import Any

import comfy.controlnet
import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch

CONTEXT = 32  # width of a text state
POOLED = 16  # width of a pooled output
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": CONTEXT,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "dtype": torch.float32,
}


class UnscaledLatent(comfy.latent_formats.SD15):
    """SD's format without its factor: a latent survives leaving and re-entering a sampler bit for bit."""

    def __init__(self) -> None:
        super().__init__()
        self.scale_factor = 1.0


def fill(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Seeded values for every parameter, of a size that keeps the signal's."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                values /= math.sqrt(parameter[0].numel())
            else:
                values = 0.1 * values + (0.0 if name.endswith("bias") else 1.0)
            parameter.copy_(values)
    return module.requires_grad_(False).eval()


def patcher(model: comfy.model_base.BaseModel) -> comfy.model_patcher.ModelPatcher:
    """A MODEL on the CPU, as the host's loaders make it."""
    fill(model.diffusion_model, seed=1)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def config_of(kind: type, unet: dict[str, Any], latent_format: type | None = None) -> Any:
    """A supported_models configuration of the given kind around a network's own arguments."""
    config = kind(dict(unet))
    if latent_format is not None:
        config.latent_format = latent_format()
    return config


def unet_model(model_type: str = "EPS", in_channels: int = 4) -> comfy.model_patcher.ModelPatcher:
    """An SD-like UNet that predicts noise (EPS) or velocity (V_PREDICTION); 9 channels make it an inpainting model."""
    config = config_of(comfy.supported_models.SD15, {**UNET, "in_channels": in_channels}, UnscaledLatent)
    model = comfy.model_base.BaseModel(config, model_type=comfy.model_base.ModelType[model_type])
    if in_channels > 4:
        model.set_inpaint()
    return patcher(model)


def sdxl_model(context: int, pooled: int) -> comfy.model_patcher.ModelPatcher:
    """An SDXL-like UNet for text states `context` wide; its vector is the pooled output and six embedded sizes."""
    network = {**UNET, "context_dim": context, "num_classes": "sequential", "adm_in_channels": pooled + 6 * 256}
    return patcher(comfy.model_base.SDXL(config_of(comfy.supported_models.SDXL, network)))


def sd3_model() -> comfy.model_patcher.ModelPatcher:
    """An SD3-like flow model: MMDiT, one block, 16 channels, a pooled output."""
    network = {
        "input_size": None,
        "in_channels": 16,
        "patch_size": 2,
        "depth": 1,
        "num_patches": 64,
        "pos_embed_max_size": 8,
        "pos_embed_scaling_factor": None,
        "adm_in_channels": POOLED,
        "context_embedder_config": {
            "target": "torch.nn.Linear",
            "params": {"in_features": CONTEXT, "out_features": 64},
        },
        "dtype": torch.float32,
    }
    model = comfy.model_base.SD3(config_of(comfy.supported_models.SD3, network))
    model.diffusion_model.pos_embed = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(5))
    return patcher(model)


def flux_model(context: int = CONTEXT, pooled: int = POOLED) -> comfy.model_patcher.ModelPatcher:
    """A Flux-like flow model: one double and one single block, 16 channels, distilled guidance."""
    network = {
        "image_model": "flux",
        "in_channels": 16,
        "out_channels": 16,
        "vec_in_dim": pooled,
        "context_in_dim": context,
        "hidden_size": 32,
        "mlp_ratio": 2.0,
        "num_heads": 2,
        "depth": 1,
        "depth_single_blocks": 1,
        "axes_dim": [4, 6, 6],
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
        "dtype": torch.float32,
    }
    import comfy.ldm.flux.model as flux

    known = flux.FluxParams.__dataclass_fields__
    network = {key: value for key, value in network.items() if key in known or key in ("image_model", "dtype")}
    return patcher(comfy.model_base.Flux(config_of(comfy.supported_models.Flux, network)))


def video_model() -> comfy.model_patcher.ModelPatcher:
    """A Wan-like text-to-video model: latents are [batch, 16, frames, height, width]."""
    network = {
        "image_model": "wan2.1",
        "model_type": "t2v",
        "patch_size": (1, 2, 2),
        "in_dim": 16,
        "out_dim": 16,
        "dim": 32,
        "ffn_dim": 64,
        "freq_dim": 32,
        "text_dim": CONTEXT,
        "text_len": 77,
        "num_heads": 2,
        "num_layers": 1,
        "dtype": torch.float32,
    }
    return patcher(comfy.model_base.WAN21(config_of(comfy.supported_models.WAN21_T2V, network)))


def controlnet(seed: int = 3) -> comfy.controlnet.ControlNet:
    """A tiny random ControlNet that fits `unet_model`."""
    from comfy.cldm.cldm import ControlNet

    network = {key: value for key, value in UNET.items() if key not in ("out_channels", "transformer_depth_output")}
    net = fill(ControlNet(hint_channels=3, num_heads=8, **network), seed)
    return comfy.controlnet.ControlNet(net, load_device=torch.device("cpu"))


def conditioning(seed: int, tokens: int = 77, pooled: bool = True, **extra: Any) -> list:
    """A CONDITIONING of one entry: seeded states [1, tokens, 32], a pooled output [1, 16] and what else is given."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(1, tokens, CONTEXT, generator=generator)
    options: dict[str, Any] = {"pooled_output": torch.randn(1, POOLED, generator=generator)} if pooled else {}
    return [[states, {**options, **extra}]]


def latent(
    channels: int = 4, batch: int = 1, size: int = 8, frames: int | None = None, seed: int | None = None
) -> dict:
    """A LATENT: empty, or with seeded content as an encoded picture would have."""
    shape = [batch, channels, *([] if frames is None else [frames]), size, size]
    if seed is None:
        return {"samples": torch.zeros(shape)}
    return {"samples": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}
