"""The demo model's networks, built from the host's classes, and the settings that they share.

Importing this module needs no host; the build functions do. Every host since mid-2024 has the same classes and call
signatures.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from .autoencoder import CHANNELS as LATENT_CHANNELS

CONTEXT = 128  # width of the text states

UNET = {
    "image_size": 32,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "model_channels": 64,
    "num_res_blocks": [1, 2, 1],
    "channel_mult": [1, 2, 2],
    "num_head_channels": 32,
    "use_spatial_transformer": True,
    "transformer_depth": [0, 1, 1, 1],
    "transformer_depth_output": [0, 0, 1, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": CONTEXT,
    "use_linear_in_transformer": True,
    "legacy": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
}

CLIP = {
    "num_hidden_layers": 2,
    "hidden_size": CONTEXT,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "hidden_act": "quick_gelu",
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "eos_token_id": 49407,
    "projection_dim": CONTEXT,
    "layer_norm_eps": 1e-5,
    "model_type": "clip_text_model",
}


def initialise(module: nn.Module, seed: int) -> nn.Module:
    """Gives every layer torch's default initial weights, because the host's layers leave theirs unset."""
    torch.manual_seed(seed)
    kinds = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
    for layer in module.modules():
        for kind in kinds:
            if isinstance(layer, kind):
                kind.reset_parameters(layer)  # type: ignore[arg-type]
    return module


def _without_inplace_sums(block: nn.Module, x: torch.Tensor, context: torch.Tensor, **_: Any) -> torch.Tensor:
    """The host's transformer block with sums out of place, because autograd refuses its sums in place."""
    x = x + block.attn1(block.norm1(x))
    x = x + block.attn2(block.norm2(x), context=context)
    return x + block.ff(block.norm3(x))


def _text_layer_without_inplace_sums(layer: nn.Module, x: torch.Tensor, mask: Any, attention: Any) -> torch.Tensor:
    x = x + layer.self_attn(layer.layer_norm1(x), mask, attention)
    return x + layer.mlp(layer.layer_norm2(x))


def build_unet(seed: int) -> nn.Module:
    """The denoiser, ready to train, with residual branches and the output starting at zero."""
    import comfy.ops
    from comfy.ldm.modules.attention import BasicTransformerBlock
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    settings = {k: v for k, v in UNET.items() if k != "use_temporal_attention"}
    unet = initialise(UNetModel(**settings, dtype=torch.float32, operations=comfy.ops.disable_weight_init), seed)
    for name, parameter in unet.named_parameters():
        if name.startswith(("out.2.",)) or ".out_layers.3." in name or ".proj_out." in name:
            nn.init.zeros_(parameter)
    for block in unet.modules():
        if isinstance(block, BasicTransformerBlock):
            block.forward = partial(_without_inplace_sums, block)  # type: ignore[method-assign]
    return unet


def build_text_model(seed: int, rows: int) -> nn.Module:
    """The text encoder with an embedding of only `rows` rows (the loader spreads them over CLIP's 49,408)."""
    import comfy.ops
    from comfy.clip_model import CLIPLayer, CLIPTextModel

    with torch.no_grad():
        model = CLIPTextModel(CLIP, torch.float32, "cpu", comfy.ops.disable_weight_init)
    inner = model.text_model
    inner.embeddings.token_embedding = type(inner.embeddings.token_embedding)(rows, CONTEXT)
    initialise(model, seed)
    nn.init.normal_(inner.embeddings.token_embedding.weight, std=0.2)
    nn.init.normal_(inner.embeddings.position_embedding.weight, std=0.02)
    for layer in model.modules():
        if isinstance(layer, CLIPLayer):
            layer.forward = partial(_text_layer_without_inplace_sums, layer)  # type: ignore[method-assign]
    return model
