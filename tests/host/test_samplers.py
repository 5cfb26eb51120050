"""Every sampler with every scheduler of the host: finite wherever the stock KSampler is."""

from __future__ import annotations

import pytest
import torch
from host import SAMPLERS, SCHEDULERS, stock
from tiny_models import latent

STEPS = 3


def outcome(sample):
    """("finite" | "not finite" | the exception's type and text, the latent)."""
    try:
        out = sample()
    except Exception as error:  # whatever a sampler of the host raises on so short a run
        return f"{type(error).__name__}: {error}", None
    return ("finite" if torch.isfinite(out).all() else "not finite"), out


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_finite_wherever_stock_is(pack, eps, prompts, sampler_name, remark):
    positive, safe, negative = prompts
    faults = []
    for scheduler in SCHEDULERS:
        settings = {"sampler_name": sampler_name, "scheduler": scheduler, "steps": STEPS, "cfg": 3.0}
        by_stock, plain = outcome(lambda settings=settings: stock(eps, positive, negative, latent(), **settings))
        by_node, ours = outcome(
            lambda settings=settings: pack.ksampler(eps, positive, safe, negative, latent(), safety=0.5, **settings)
        )
        if by_stock != "finite":
            remark(f"{sampler_name}, {scheduler}: stock {by_stock}; ours {by_node}")
        elif by_node != "finite":
            faults.append(f"{scheduler}: {by_node}")
        elif torch.equal(ours, plain):
            faults.append(f"{scheduler}: the safe prompt did nothing")
    assert not faults, f"{sampler_name}: " + "; ".join(faults)
