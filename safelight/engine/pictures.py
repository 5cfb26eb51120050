"""Pictures: of latents, and those that a node shows on itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine import host

if TYPE_CHECKING:
    import torch
    from comfy.sd import VAE


def decoded(vae: VAE, latents: torch.Tensor) -> torch.Tensor:
    """As VAE Decode gives them, [N, H, W, C]; the frames of a video are pictures one after the other."""
    images = vae.decode(latents)
    return images.flatten(0, 1) if images.ndim == 5 else images


def save_previews(images: torch.Tensor) -> list[dict[str, str]]:
    """Saves pictures [N, H, W, C] in the host's folder for temporary files, as Preview Image does; the files' names."""
    return host.PreviewImage().save_images(images)["ui"]["images"]
