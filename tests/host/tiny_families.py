"""Tiny random models of the families that draw pictures, each for a text encoder's own conditioning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_base
import comfy.supported_models
import encoder_families
import torch
from comfy.model_patcher import ModelPatcher
from host import base_nodes, call, extra_node
from tiny_models import UNET, config_of, flux_model, patcher, sdxl_model

MMDIT = {
    "input_size": None,
    "in_channels": 16,
    "patch_size": 2,
    "depth": 1,
    "num_patches": 128 * 128,
    "pos_embed_max_size": 128,
    "pos_embed_scaling_factor": None,
}
FLUX = {
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "theta": 10000,
    "dtype": torch.float32,
}
WAN = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "patch_size": (1, 2, 2),
    "text_len": 512,
    "dim": 32,
    "ffn_dim": 64,
    "freq_dim": 32,
    "num_heads": 2,
    "num_layers": 1,
    "dtype": torch.float32,
}


def made(name: str, network: dict[str, Any], kind: str = "") -> ModelPatcher:
    """A model of the host's class of that name; kind: its configuration, where that has another name."""
    config = config_of(getattr(comfy.supported_models, kind or name), network)
    return patcher(getattr(comfy.model_base, name)(config))


def sd1(context: int, _: int) -> ModelPatcher:
    return named(made("BaseModel", {**UNET, "context_dim": context}, "SD15"), context_dim=768)


def named(model: ModelPatcher, **network: Any) -> ModelPatcher:
    """The same model with sizes of the real one in its configuration, where a family is told by them."""
    config = model.model.model_config
    config.unet_config = {**config.unet_config, **network}
    return model


def sd3(context: int, pooled: int) -> ModelPatcher:
    text = {"target": "torch.nn.Linear", "params": {"in_features": context, "out_features": 64}}
    network = {**MMDIT, "adm_in_channels": pooled, "context_embedder_config": text, "dtype": torch.float32}
    model = made("SD3", network)
    positions = torch.randn(1, 128 * 128, 64, generator=torch.Generator().manual_seed(5))
    model.model.diffusion_model.pos_embed = positions
    return model


def flux2(context: int, _: int) -> ModelPatcher:
    network = {**FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1}
    network |= {"vec_in_dim": None, "context_in_dim": context, "axes_dim": [4, 4, 4, 4], "txt_ids_dims": [3]}
    network |= {"qkv_bias": False, "ops_bias": False, "guidance_embed": True, "global_modulation": True}
    return made("Flux2", {**network, "mlp_silu_act": True, "default_ref_method": "index"})


def chroma(context: int, _: int) -> ModelPatcher:
    network = {**FLUX, "image_model": "chroma", "in_channels": 64, "out_channels": 64, "patch_size": 2}
    network |= {"vec_in_dim": 0, "context_in_dim": context, "axes_dim": [4, 6, 6], "txt_ids_dims": []}
    network |= {"qkv_bias": True, "in_dim": 64, "out_dim": 32, "hidden_dim": 32, "n_layers": 1}
    import comfy.ldm.chroma.model as chroma

    known = (*chroma.ChromaParams.__dataclass_fields__, "image_model", "dtype")
    return made("Chroma", {key: value for key, value in network.items() if key in known})


def qwen_image(context: int, _: int) -> ModelPatcher:
    network = {"image_model": "qwen_image", "num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2}
    network |= {"joint_attention_dim": context, "axes_dims_rope": (4, 6, 6), "dtype": torch.float32}
    return made("QwenImage", network)


def lumina2(context: int, _: int, **further: Any) -> ModelPatcher:
    network = {"image_model": "lumina2", "in_channels": 16, "dim": 32, "n_layers": 1, "n_refiner_layers": 1}
    network |= {"n_heads": 2, "n_kv_heads": 2, "multiple_of": 32, "qk_norm": True, "cap_feat_dim": context}
    network |= {"axes_dims": [4, 6, 6], "axes_lens": [300, 512, 512], "dtype": torch.float32}
    return made("Lumina2", {**network, **further})


def z_image(context: int, pooled: int) -> ModelPatcher:
    further = {"dim": 256, "axes_dims": [32, 48, 48]}  # the modulation is 256 wide
    further |= {"z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32}
    return named(lumina2(context, pooled, **further), dim=3840)


def hidream(context: int, pooled: int) -> ModelPatcher:
    network = {"image_model": "hidream", "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 1}
    network |= {"num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "text_emb_dim": pooled}
    network |= {"caption_channels": [context, 64], "llama_layers": [0, 1], "axes_dims_rope": (8, 4, 4)}
    return made("HiDream", {**network, "max_resolution": (128, 128), "dtype": torch.float32})


def wan(context: int, _: int) -> ModelPatcher:
    return made("WAN21", {**WAN, "in_dim": 16, "out_dim": 16, "text_dim": context}, "WAN21_T2V")


def wan22(context: int, _: int) -> ModelPatcher:
    return made("WAN22", {**WAN, "in_dim": 48, "out_dim": 48, "text_dim": context}, "WAN22_T2V")


@dataclass(frozen=True)
class Family:
    """kind: the host's class of the model. make: a model for text states and a pooled output of these widths.

    encoder: its text encoder's name in encoder_families. empty: the host's node for an empty latent, and its module.
    cell: the pixels of a latent cell's side. shift: what the host's template puts behind the loader.
    """

    kind: str
    make: Callable[[int, int], ModelPatcher]
    encoder: str
    empty: tuple[str, str]
    cell: int = 8
    shift: tuple[str, float] | None = None

    def is_here(self) -> bool:
        """Whether the host has this family."""
        return hasattr(comfy.model_base, self.kind) and not encoder_families.lacking(self.encoder)

    def empty_latent(self, width: int, height: int) -> dict[str, Any]:
        """The LATENT of the host's own node, of one frame. width, height: in pixels."""
        module, name = self.empty
        node = extra_node(module, name) if module else getattr(base_nodes, name)
        size = {"width": width, "height": height, "batch_size": 1}
        if name == "EmptyHunyuanLatentVideo":
            size["length"] = 1
        if name == "Wan22ImageToVideoLatent":
            size |= {"length": 1, "vae": None}
        return call(node, **size)[0]

    def shifted(self, model: ModelPatcher) -> ModelPatcher:
        """The model as the host's template hands it to the sampler."""
        if self.shift is None:
            return model
        name, shift = self.shift
        return call(extra_node("nodes_model_advanced", name), model=model, shift=shift)[0]


SD, SD3 = ("", "EmptyLatentImage"), ("nodes_sd3", "EmptySD3LatentImage")
FAMILIES = {
    "SD1.x": Family("BaseModel", sd1, "SD1.5", SD),
    "SDXL": Family("SDXL", sdxl_model, "SDXL", SD),
    "SD3": Family("SD3", sd3, "SD3.5", SD3),
    "Flux": Family("Flux", flux_model, "Flux.1", SD3),
    "Flux.2": Family("Flux2", flux2, "Flux.2 klein 4B", ("nodes_flux", "EmptyFlux2LatentImage"), cell=16),
    "Chroma": Family("Chroma", chroma, "PixArt, Chroma", SD3, shift=("ModelSamplingAuraFlow", 1.0)),
    "Qwen-Image": Family("QwenImage", qwen_image, "Qwen-Image", SD3, shift=("ModelSamplingAuraFlow", 3.1)),
    "Lumina 2": Family("Lumina2", lumina2, "Lumina 2", SD3, shift=("ModelSamplingAuraFlow", 4.0)),
    "Z-Image Turbo": Family("Lumina2", z_image, "Z-Image", SD3, shift=("ModelSamplingAuraFlow", 3.0)),
    "HiDream I1 Full": Family("HiDream", hidream, "HiDream I1", SD3, shift=("ModelSamplingSD3", 3.0)),
    "Wan": Family("WAN21", wan, "Wan", ("nodes_hunyuan", "EmptyHunyuanLatentVideo"), shift=("ModelSamplingSD3", 8.0)),
    "Wan 2.2 (5B)": Family(
        *("WAN22", wan22, "Wan", ("nodes_wan", "Wan22ImageToVideoLatent")), cell=16, shift=("ModelSamplingSD3", 8.0)
    ),
}
HERE = [name for name, family in FAMILIES.items() if family.is_here()]
