"""Every sampler with every scheduler of the host, under the methods to compare with: finite wherever stock is."""

from __future__ import annotations

import pytest
from host import SAMPLERS, SCHEDULERS, stock
from methods import ALL, Method, differs, run_guider
from test_samplers import STEPS, outcome
from tiny_models import latent


@pytest.fixture(scope="module")
def guiders(pack, eps, prompts):
    """One guider for each method: every run starts anew."""
    return [(name, Method(pack, name).guider(eps, prompts[0], prompts[2], cfg=3.0)[0]) for name in ALL]


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_methods_are_finite_wherever_stock_is(eps, prompts, guiders, sampler_name, remark):
    """Each pair of sampler and scheduler with one of the methods in turn, so that each method meets every sampler and,
    over all samplers, every scheduler: the full product would take four times as long. dpm_adaptive, which takes as
    many steps as it likes, meets two of them."""
    faults = []
    for at, scheduler in enumerate(SCHEDULERS[:2] if sampler_name == "dpm_adaptive" else SCHEDULERS):
        settings = {"sampler_name": sampler_name, "scheduler": scheduler, "steps": STEPS, "cfg": 3.0}
        name, guider = guiders[(SAMPLERS.index(sampler_name) + at) % len(guiders)]
        by_stock, plain = outcome(lambda settings=settings: stock(eps, prompts[0], prompts[2], latent(), **settings))
        by_method, ours = outcome(
            lambda settings=settings, guider=guider: run_guider(guider, eps, latent(), **settings)
        )
        if by_stock != "finite":
            remark(f"{sampler_name}, {scheduler}: stock {by_stock}; {name} {by_method}")
        elif by_method != "finite":
            faults.append(f"{name}, {scheduler}: {by_method}")
        elif not differs(ours, plain):
            faults.append(f"{name}, {scheduler}: it did nothing")
    assert not faults, f"{sampler_name}: " + "; ".join(faults)
