"""The harness itself: tiny models take their prompts into account on this host, and rows are counted."""

from __future__ import annotations

import pytest
import torch
from host import count_rows, require, stock
from tiny_models import conditioning, flux_model, latent, sd3_model, unet_model, video_model


def _supported(kind: str):
    import comfy.model_base

    return {
        "eps": lambda: (unet_model(), latent()),
        "v": lambda: (unet_model("V_PREDICTION"), latent()),
        "sd3": lambda: (sd3_model(), latent(16)),
        "flux": lambda: require(hasattr(comfy.model_base, "Flux"), "Flux") or (flux_model(), latent(16)),
        "video": lambda: require(hasattr(comfy.model_base, "WAN21"), "Wan") or (video_model(), latent(16, frames=3)),
    }[kind]()


@pytest.mark.parametrize("kind", ["eps", "v", "sd3", "flux", "video"])
def test_tiny_model_follows_both_prompts(kind):
    model, empty = _supported(kind)
    positive, negative, other = conditioning(1), conditioning(2), conditioning(3)
    with count_rows(model) as seen:
        plain = stock(model, positive, negative, empty)
    assert seen.rows == [2] * 6
    assert torch.isfinite(plain).all()
    assert torch.equal(plain, stock(model, positive, negative, empty))
    assert not torch.allclose(plain, stock(model, other, negative, empty), rtol=1e-2)
    assert not torch.allclose(plain, stock(model, positive, other, empty), rtol=1e-2)
