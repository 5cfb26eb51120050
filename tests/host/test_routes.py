"""The same picture by every route: KSampler, guider, model patch; in one run or in several."""

from __future__ import annotations

import pytest
import torch
from host import base_nodes, call, stock_advanced
from tiny_models import conditioning, controlnet, latent

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "dpm_2", "heun", "uni_pc", "lcm"]
SETTINGS = [
    {"safety": 0.5},
    {"safety": 1.0},
    {"safety": 0.0},
    {"safety": 0.8, "risk": 0.2},
    {"safety": 0.8, "risk": 0.9, "gate": 0.6},
    {"safety": 0.7, "cfg": 1.0},
    {"safety": 0.7, "denoise": 0.6},
    {"safety": 0.7, "steps": 1},
    {"safety": 0.7, "steps": 4, "scheduler": "karras"},
]


def inputs(pack, settings):
    schedule = pack.schedule(((0.0, 0.4), (0.6, 1.0), (1.0, 0.8)), context=0.25, interpolation="monotone_cubic")
    return {"schedule": schedule, **settings}


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_guider_gives_the_ksamplers_latent(pack, eps, prompts, sampler_name):
    settings = inputs(pack, {"sampler_name": sampler_name})
    ours = pack.ksampler(eps, *prompts, latent(batch=2), **settings)
    assert torch.equal(pack.custom(eps, *prompts, latent(batch=2), **settings), ours)


@pytest.mark.parametrize("sampler_name", SAMPLERS)
def test_model_patch_gives_the_ksamplers_latent(pack, eps, prompts, sampler_name):
    settings = inputs(pack, {"sampler_name": sampler_name})
    patched = pack.patched(eps, *prompts, latent(batch=2), **settings)
    assert torch.equal(patched, pack.ksampler(eps, *prompts, latent(batch=2), **settings))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_guider_gives_the_ksamplers_latent_with_settings(pack, eps, prompts, settings):
    settings = inputs(pack, settings)
    picture = latent(seed=9)
    ours = pack.ksampler(eps, *prompts, picture, **settings)
    assert torch.equal(pack.custom(eps, *prompts, picture, **settings), ours)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_model_patch_gives_the_ksamplers_latent_with_settings(pack, eps, prompts, settings):
    settings = inputs(pack, settings)
    picture = latent(seed=9)
    patched = pack.patched(eps, *prompts, picture, **settings)
    assert torch.equal(patched, pack.ksampler(eps, *prompts, picture, **settings))


@pytest.mark.parametrize("axis", ["noise level", "steps"])
def test_axes_give_the_same_latent_by_guider_and_ksampler(pack, eps, prompts, axis):
    schedule = pack.schedule(((0.0, 0.1), (1.0, 1.0)), context=0.25, axis=axis)
    ours = pack.ksampler(eps, *prompts, latent(), schedule=schedule)
    assert torch.equal(pack.custom(eps, *prompts, latent(), schedule=schedule), ours)


def dressed(prompts, kind):
    """The three prompts with something on the written one that the safe one takes over, or with a longer safe one."""
    positive, safe, negative = prompts
    if kind == "areas":
        halves = {"area": (16, 8, 0, 0), "strength": 1.0}, {"area": (16, 8, 0, 8), "strength": 0.8}
        positive = [[positive[0][0], {**positive[0][1], **half}] for half in halves]
    elif kind == "masked":
        mask = torch.zeros(1, 128, 128)
        mask[:, :, :64] = 1.0
        positive = [[positive[0][0], {**positive[0][1], "mask": mask, "mask_strength": 0.9}]]
    elif kind == "timestep range":
        positive = call(base_nodes.ConditioningSetTimestepRange, conditioning=positive, start=0.0, end=0.6)[0]
        safe = call(base_nodes.ConditioningSetTimestepRange, conditioning=safe, start=0.3, end=1.0)[0]
    elif kind == "controlnet":
        hint = torch.rand(1, 128, 128, 3, generator=torch.Generator().manual_seed(2))
        positive = call(
            base_nodes.ControlNetApply, conditioning=positive, control_net=controlnet(), image=hint, strength=0.9
        )[0]
    elif kind == "longer":
        safe = conditioning(12, tokens=154)
    return positive, safe, negative


KINDS = ["areas", "masked", "timestep range", "controlnet", "longer", "inpaint"]


def canvas(kind):
    picture = latent(size=16, seed=4)
    if kind == "inpaint":
        picture["noise_mask"] = torch.rand(1, 128, 128, generator=torch.Generator().manual_seed(3)).round()
    return picture


@pytest.mark.parametrize("kind", KINDS)
def test_guider_gives_the_ksamplers_latent_for_prompts_with(pack, eps, prompts, kind):
    for safety in (0.6, 1.0):
        settings = {"safety": safety, "schedule": pack.schedule(context=0.2)}
        ours = pack.ksampler(eps, *dressed(prompts, kind), canvas(kind), **settings)
        assert torch.equal(pack.custom(eps, *dressed(prompts, kind), canvas(kind), **settings), ours)


@pytest.mark.parametrize("kind", KINDS)
def test_model_patch_gives_the_ksamplers_latent_for_prompts_with(pack, eps, prompts, kind):
    for safety in (0.6, 1.0):
        settings = {"safety": safety, "schedule": pack.schedule(context=0.2)}
        patched = pack.patched(eps, *dressed(prompts, kind), canvas(kind), **settings)
        assert torch.equal(patched, pack.ksampler(eps, *dressed(prompts, kind), canvas(kind), **settings))


def test_axes_differ(pack, eps, prompts):
    """karras' steps are not spread evenly over the noise scale."""
    by_axis = [
        pack.ksampler(
            eps,
            *prompts,
            latent(),
            scheduler="karras",
            safety=1.0,
            schedule=pack.schedule(((0.0, 0.0), (1.0, 1.0)), axis=axis),
        )
        for axis in ("noise level", "steps")
    ]
    assert not torch.allclose(*by_axis, rtol=1e-3)


def test_mask_by_guider_and_ksampler(pack, eps, prompts):
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1.0
    ours = pack.ksampler(eps, *prompts, latent(batch=2), mask=mask)
    assert torch.equal(pack.custom(eps, *prompts, latent(batch=2), mask=mask), ours)


def test_mask_by_model_patch_and_ksampler(pack, eps, prompts):
    mask = torch.zeros(1, 64, 64)
    mask[:, :, :32] = 1.0
    patched = pack.patched(eps, *prompts, latent(batch=2), mask=mask)
    assert torch.equal(patched, pack.ksampler(eps, *prompts, latent(batch=2), mask=mask))


@pytest.mark.parametrize("axis", ["noise level", "steps"])
@pytest.mark.parametrize("sampler_name", ["euler", "heun", "dpm_2"])
def test_a_run_cut_in_two_is_the_run_in_one(pack, eps, prompts, sampler_name, axis):
    positive, safe, negative = prompts
    first = {"sampler_name": sampler_name, "end_at_step": 8, "return_with_leftover_noise": "enable"}
    second = {"sampler_name": sampler_name, "start_at_step": 8, "add_noise": "disable"}

    whole = stock_advanced(eps, positive, negative, latent(), sampler_name=sampler_name)
    half = stock_advanced(eps, positive, negative, latent(), **first)
    cut = stock_advanced(eps, positive, negative, {"samples": half}, **second)
    assert torch.equal(cut, whole), "the stock node itself is not the same in two runs; this test would say nothing"

    schedule = pack.schedule(((0.0, 0.2), (0.5, 1.0), (1.0, 0.6)), context=0.3, axis=axis)
    ours = {"safety": 0.5, "schedule": schedule}
    whole = pack.advanced(eps, positive, safe, negative, latent(), sampler_name=sampler_name, **ours)
    half = pack.advanced(eps, positive, safe, negative, latent(), **first, **ours)
    cut = pack.advanced(eps, positive, safe, negative, {"samples": half}, **second, **ours)
    assert torch.equal(cut, whole)
    assert not torch.allclose(whole, stock_advanced(eps, positive, negative, latent(), sampler_name=sampler_name))


def test_slices_share_the_clamped_context_of_the_whole_run(pack, eps, prompts):
    """A context later than the last quarter is lowered for the whole run, not anew for each slice."""
    late = {"safety": 0.5, "steps": 8, "schedule": pack.schedule(context=0.99)}
    whole = pack.advanced(eps, *prompts, latent(), **late)
    half = pack.advanced(eps, *prompts, latent(), end_at_step=4, return_with_leftover_noise="enable", **late)
    cut = pack.advanced(eps, *prompts, {"samples": half}, start_at_step=4, add_noise="disable", **late)
    assert torch.equal(cut, whole)


def test_advanced_in_one_run_gives_the_ksamplers_latent(pack, eps, prompts):
    ours = pack.ksampler(eps, *prompts, latent(), steps=20, seed=7)
    assert torch.equal(pack.advanced(eps, *prompts, latent()), ours)


def test_model_patch_leaves_the_model_that_it_was_given_alone(pack, eps, prompts):
    positive, safe, negative = prompts
    before = stock_advanced(eps, positive, negative, latent())
    pack.patch(eps, safe, safety=1.0)
    assert torch.equal(stock_advanced(eps, positive, negative, latent()), before)


def test_closed_gate_model_patch_returns_the_model_unchanged(pack, eps):
    assert pack.patch(eps, conditioning(1), safety=1.0, risk=0.2) is eps
