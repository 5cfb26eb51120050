"""A custom node pack for the server under test: tiny random models, prompts for them, and pictures of their latents."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # resolved: this is a link in the server's folder

import tiny_models  # noqa: E402


class TinyModel:
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def load(self):
        return (tiny_models.unet_model(),)


class TinyPrompt:
    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "encode"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"seed": ("INT", {"default": 0}), "broken": ("BOOLEAN", {"default": False})}}

    def encode(self, seed, broken):
        conditioning = tiny_models.conditioning(seed)
        if broken:
            conditioning[0][0].fill_(float("nan"))
        return (conditioning,)


def decoded(latents):
    """A latent's first three channels as an IMAGE."""
    return torch.sigmoid(latents[:, :3].movedim(1, -1).float())


class TinyCheckpoint:
    """In a checkpoint loader's place: a random model of that kind, its text encoder, and a viewer of its latents."""

    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    FUNCTION = "load"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"kind": (["SDXL", "Flux"], {})}}

    def load(self, kind):
        import tiny_encoders as encoders  # not on import: it needs a host that has started

        model = (
            tiny_models.sdxl_model(encoders.L + encoders.G, encoders.G)
            if kind == "SDXL"
            else tiny_models.flux_model(encoders.T5, encoders.L)
        )
        return (model, encoders.clip(kind), SimpleNamespace(decode=decoded, downscale_ratio=8))


class TinyPicture:
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "decode"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"samples": ("LATENT",)}}

    def decode(self, samples):
        return (decoded(samples["samples"]),)


NODE_CLASS_MAPPINGS = {node.__name__: node for node in (TinyModel, TinyCheckpoint, TinyPrompt, TinyPicture)}
