"""A custom node pack for the server under test: a tiny random model, prompts for it, and pictures of its latents."""

from __future__ import annotations

import sys
from pathlib import Path

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


class TinyPicture:
    """Shows a latent's first three channels as an IMAGE."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "decode"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"samples": ("LATENT",)}}

    def decode(self, samples):
        picture = samples["samples"][:, :3].movedim(1, -1)
        return (torch.sigmoid(picture.float()),)


NODE_CLASS_MAPPINGS = {"TinyModel": TinyModel, "TinyPrompt": TinyPrompt, "TinyPicture": TinyPicture}
