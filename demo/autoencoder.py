"""The demo model's autoencoder: pictures of 96 x 96 to latents of 8 x 12 x 12, and back.

The host's AutoencoderKL normalises in 32 groups. At a width that two CPU cores can train, that is one channel per group
and erases flat colours. So this one has no normalisation, and it works at low resolution (pixel shuffle, Shi et al.
2016). The host's VAE object holds it as its first_stage_model and does the rest: batches, devices, tiles.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

CHANNELS = 8  # of the latents
DOWNSCALE = 8  # pixels per latent cell


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class Autoencoder(nn.Module):
    """encode and decode as the host's VAE calls them: pictures [B, 3, H, W] in [-1, 1], latents [B, 8, H/8, W/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, 64, 3, padding=1),
            Residual(64),
            nn.Conv2d(64, 96, 3, 2, 1),
            Residual(96),
            nn.SiLU(),
            nn.Conv2d(96, CHANNELS, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(CHANNELS, 192, 3, padding=1),
            Residual(192),
            Residual(192),
            Residual(192),
            nn.SiLU(),
            nn.Conv2d(192, 96 * 4, 1),
            nn.PixelShuffle(2),
            Residual(96),
            Residual(96),
            nn.SiLU(),
            nn.Conv2d(96, 48 * 4, 1),
            nn.PixelShuffle(2),
            Residual(48),
            nn.SiLU(),
            nn.Conv2d(48, 3 * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )
        # They are set after training, so that latents have mean 0 and deviation 1 in every channel.
        self.register_buffer("mean", torch.zeros(CHANNELS, 1, 1))
        self.register_buffer("deviation", torch.ones(CHANNELS, 1, 1))

    def encode(self, pictures: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return (self.encoder(pictures) - self.mean) / self.deviation

    def decode(self, latents: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        return self.decoder(latents * self.deviation + self.mean)
