"""What torch's generators are left with."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def undone_draws(latents: torch.Tensor) -> AbstractContextManager[None]:
    """What the block draws, on the CPU or on the device of these latents, is drawn again after it."""
    return torch.random.fork_rng(devices=[latents.device] if latents.device.type == "cuda" else [])
