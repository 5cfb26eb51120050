"""Pictures that a node shows on itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safelight.engine import host

if TYPE_CHECKING:
    import torch


def save_previews(images: torch.Tensor) -> list[dict[str, str]]:
    """Saves pictures [N, H, W, C] in the host's folder for temporary files, as Preview Image does; the files' names."""
    return host.PreviewImage().save_images(images)["ui"]["images"]
