"""The common property of what a host can do with a conditioning, a latent or a MODEL."""

from __future__ import annotations

from typing import Any

import torch
from host import count_rows, stock


def ends(
    pack: Any, model: Any, prompts: tuple, latent_image: dict, on_safe: list | None = None, **settings: Any
) -> torch.Tensor:
    """Checks both ends against the stock KSampler and returns the latent at safety .5.

    on_safe: the conditioning that the safe prompt becomes with what it inherits, where it inherits something.
    """
    positive, safe, negative = prompts
    schedule = settings.pop("schedule", None) or pack.schedule()
    stock_on = []
    for safety, text in ((0.0, positive), (1.0, on_safe or safe)):
        with count_rows(model) as stock_rows:
            plain = stock(model, text, negative, latent_image, **settings)
        with count_rows(model) as own_rows:
            ours = pack.ksampler(
                model, positive, safe, negative, latent_image, safety=safety, schedule=schedule, **settings
            )
        assert torch.isfinite(plain).all()
        assert torch.equal(ours, plain), f"safety {safety}"
        assert own_rows == stock_rows, f"safety {safety}"
        stock_on.append(plain)
    between = pack.ksampler(model, positive, safe, negative, latent_image, safety=0.5, schedule=schedule, **settings)
    assert torch.isfinite(between).all()
    for plain in stock_on:
        assert torch.linalg.norm(between - plain) > 1e-3 * torch.linalg.norm(plain), "it is one of the ends"
    return between
