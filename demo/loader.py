"""Loads the demo model through the host's classes, so that every node treats it like any checkpoint."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models_base
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel, SDTokenizer
from safetensors.torch import load_file

from . import model, world
from .autoencoder import CHANNELS, DOWNSCALE, Autoencoder

WEIGHTS = Path(__file__).parent / "weights"
START, END = 49406, 49407  # CLIP's tokens; END is the padding too


class DemoLatent(comfy.latent_formats.LatentFormat):
    """Latents with unit deviation (the autoencoder's weights hold the scale)."""

    scale_factor = 1.0
    latent_channels = CHANNELS


class DemoConfig(comfy.supported_models_base.BASE):
    """Model configuration: noise prediction on Stable Diffusion's schedule."""

    unet_config = model.UNET
    latent_format = DemoLatent
    safelight_made_for = ("the demo model", world.SIZE, world.SIZE, 3.0)  # name, width, height, cfg


class DemoClipModel(SD1ClipModel):
    """A CLIP text encoder of two layers, 128 wide."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, **host: Any) -> None:
        super().__init__(
            device=device,
            dtype=dtype,
            clip_name="l",
            clip_model=SDClipModel,
            textmodel_json_config=dict(model.CLIP),
            **host,
        )


class DemoTokenizer(SDTokenizer):
    """CLIP's tokenizer. Words that the model never saw are read as nothing, because their embeddings would be noise."""

    known: frozenset[int] = frozenset()

    def tokenize_with_weights(self, text: str, *args: Any, **kwargs: Any) -> Any:
        chunks = super().tokenize_with_weights(_WORD.sub(_or_nothing, text), *args, **kwargs)
        return [self._without_strange(chunk) for chunk in chunks]

    def _without_strange(self, chunk: list[Any]) -> list[Any]:
        """Without signs that the model does not know, padded again."""
        left = [token for token in chunk if not isinstance(token[0], int) or token[0] in self.known]
        return left + [(END, 1.0, 0)[: len(chunk[0])]] * (len(chunk) - len(left))


_EMBEDDING = "embedding:"
# An embedding's name, which is a file of the artist's, or a word.
_WORD = re.compile(rf"{_EMBEDDING}[^\s,()]+|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_VOCABULARY = frozenset(world.vocabulary())
_said: set[str] = set()


def knows(word: str) -> bool:
    """Whether the model has seen this word."""
    return word.lower() in _VOCABULARY


def _or_nothing(match: re.Match[str]) -> str:
    word = match[0].lower()
    if word.startswith(_EMBEDDING) or knows(word):
        return match[0]
    if word not in _said:
        _said.add(word)
        logging.getLogger("Safelight").warning("The demo model doesn't know the word %r and reads nothing there.", word)
    return ""


def _tokenizer_class(known: frozenset[int]) -> type:
    tokenizer = type("DemoTokenizer", (DemoTokenizer,), {"known": known})

    class DemoTokenizers(SD1Tokenizer):
        def __init__(self, embedding_directory: Any = None, **host: Any) -> None:
            super().__init__(embedding_directory=embedding_directory, clip_name="l", tokenizer=tokenizer, **host)

    return DemoTokenizers


def _read(name: str) -> dict[str, torch.Tensor]:
    path = WEIGHTS / f"{name}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"weights: expected {path.name} in demo/weights, got no such file. Install Safelight again, "
            "or put Load Checkpoint in the place of this node."
        )
    return load_file(str(path))


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _load_strictly(module: torch.nn.Module, tensors: dict[str, torch.Tensor], optional: tuple[str, ...] = ()) -> None:
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    missing = [key for key in missing if not key.endswith(optional)] if optional else missing
    if missing or unexpected:
        raise RuntimeError(
            f"weights: expected those of this demo model, got some that don't fit (missing {missing[:3]}, unexpected "
            f"{unexpected[:3]}). Take demo/weights from the same version of the repository."
        )


def load_unet(tensors: dict[str, torch.Tensor]) -> comfy.model_patcher.ModelPatcher:
    config = DemoConfig(model.UNET)
    config.set_inference_dtype(torch.float32, None)
    offload = comfy.model_management.unet_offload_device()
    host_model = comfy.model_base.BaseModel(config, device=offload)
    _load_strictly(host_model.diffusion_model, {k: v.float() for k, v in _part(tensors, "unet.").items()})
    device = comfy.model_management.get_torch_device()
    return comfy.model_patcher.ModelPatcher(host_model.eval(), load_device=device, offload_device=offload)


def load_clip(tensors: dict[str, torch.Tensor]) -> comfy.sd.CLIP:
    ids = tensors["token_ids"].long()
    target = SimpleNamespace(params={}, clip=DemoClipModel, tokenizer=_tokenizer_class(frozenset(ids.tolist())))
    clip = comfy.sd.CLIP(target, embedding_directory=None)
    states = _part(tensors, "text.")
    key = "text_model.embeddings.token_embedding.weight"
    rows = torch.zeros(model.CLIP["vocab_size"], model.CONTEXT, dtype=states[key].dtype)
    rows[ids] = states[key]
    states[key] = rows
    _load_strictly(clip.cond_stage_model.clip_l.transformer, states, optional=("position_ids",))
    clip.tokenizer.safelight_anchors = world.anchors()
    clip.tokenizer.safelight_knows = knows
    return clip


def load_vae() -> comfy.sd.VAE:
    """The host's VAE object around the demo's autoencoder.

    The host can build only architectures that it knows, so it builds a small one, which is then replaced by ours.
    """
    stand_in = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1],
        "num_res_blocks": 0,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    vae = comfy.sd.VAE(sd={}, config={"params": {"ddconfig": stand_in, "embed_dim": 4}})
    autoencoder = Autoencoder()
    _load_strictly(autoencoder, {k: v.float() for k, v in _read("vae").items()})
    vae.first_stage_model = autoencoder.eval().to(vae.vae_dtype)
    offload = comfy.model_management.vae_offload_device()
    vae.patcher = comfy.model_patcher.ModelPatcher(autoencoder, load_device=vae.device, offload_device=offload)
    vae.latent_channels, vae.downscale_ratio, vae.upscale_ratio = CHANNELS, DOWNSCALE, DOWNSCALE
    return vae


def load() -> tuple[comfy.model_patcher.ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE]:
    """(MODEL, CLIP, VAE) as the host's checkpoint loader would give them."""
    tensors = _read("model")
    return load_unet(tensors), load_clip(tensors), load_vae()
