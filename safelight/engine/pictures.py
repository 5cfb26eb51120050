"""The pictures of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from comfy.sd import VAE


def decoded(vae: VAE, latents: torch.Tensor) -> torch.Tensor:
    """As VAE Decode gives them, [N, H, W, C]; the frames of a video are pictures one after the other."""
    images = vae.decode(latents)
    return images.flatten(0, 1) if images.ndim == 5 else images
