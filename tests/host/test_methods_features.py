"""What the host can do with a conditioning, a latent or a MODEL, under the methods to compare with.

`Method.holds` is the common property: at strength 0 bits and rows are the stock KSampler's, at 1 the picture is finite,
another one, and the same by guider and by model patch.
"""

from __future__ import annotations

import comfy.model_base
import comfy.sd
import pytest
import torch
from host import base_nodes, call, count_rows, extra_node, has_wrappers, require, stock
from methods import ALL, NAMES, Method, differs, every
from test_hosts_features import controlled, entries, left_half, lora
from tiny_models import conditioning, controlnet, flux_model, latent, sd3_model, unet_model, video_model

from safelight.guidance import casg


@pytest.fixture(params=ALL)
def method(request, pack):
    return Method(pack, request.param)


@pytest.fixture(params=NAMES)
def noise_method(request, pack):
    return Method(pack, request.param)


# --- latents -------------------------------------------------------------------------------------------------------


def test_inpaint_mask_under_a_method(eps, prompts, method):
    picture = {**latent(seed=3), "noise_mask": left_half()}
    ours = method.holds(eps, prompts[0], prompts[2], picture)
    assert torch.allclose(ours[..., 5:], picture["samples"][..., 5:], atol=1e-4), "cells outside the inpaint mask"


def test_differential_diffusion_under_a_method(eps, prompts, method):
    """A denoise_mask_function on the MODEL."""
    model = call(extra_node("nodes_differential_diffusion", "DifferentialDiffusion"), model=eps)[0]
    slope = torch.linspace(0.0, 1.0, 64).expand(1, 64, 64).clone()
    method.holds(model, prompts[0], prompts[2], {**latent(seed=3), "noise_mask": slope})


@pytest.mark.parametrize("denoise", [0.3, 0.7])
def test_image_to_image_under_a_method(eps, prompts, method, denoise):
    method.holds(eps, prompts[0], prompts[2], latent(seed=3), denoise=denoise)


def test_each_picture_of_a_batch_is_that_picture_alone(pack, eps, prompts, method, monkeypatch):
    """No statistic over the batch: neither its neighbours nor their number change a picture."""
    chosen, conflict_aware = [], casg.ConflictAware
    direction = conflict_aware.direction

    def spy(self, *args):
        gamma = direction(self, *args)
        chosen.append(self.chosen.tolist())
        return gamma

    monkeypatch.setattr(conflict_aware, "direction", spy)
    sizes = torch.tensor([0.2, 1.0, 5.0, 1.0]).reshape(-1, 1, 1, 1)
    pictures, indices = sizes * latent(batch=4, seed=3)["samples"], [3, 5, 0, 9]
    settings = {"steps": 4, **({"preset": "weak"} if method.has_preset else {})}
    whole = method.holds(eps, prompts[0], prompts[2], {"samples": pictures, "batch_index": indices}, **settings)
    if method.name == "CASG":
        assert any(len(set(row)) > 1 for row in chosen), "all pictures chose the same category: nothing is tested"
    for i, index in enumerate(indices):
        alone = method.by_guider(
            eps, prompts[0], prompts[2], {"samples": pictures[i : i + 1], "batch_index": [index]}, **settings
        )
        assert not differs(whole[i : i + 1], alone, by=1e-5), i


# --- conditionings -------------------------------------------------------------------------------------------------


def test_areas_under_a_method(eps, prompts, method):
    """Two areas on the written prompt; each unsafe text takes both."""
    positive, _, negative = prompts
    halves = {"area": (16, 8, 0, 0), "strength": 1.0}, {"area": (16, 8, 0, 8), "strength": 0.8}
    percent = {"area": ("percentage", 1.0, 0.5, 0.0, 0.25), "strength": 1.0}, {}
    for areas in (halves, percent):
        method.holds(eps, entries(positive, *areas), negative, latent(size=16), steps=3)


def test_cells_that_the_prompt_leaves_out_are_left_alone(eps, prompts, noise_method):
    """One step: where no mask of the prompt reaches, the picture is stock's; where one does, it is guided."""
    half = {"mask": left_half(), "mask_strength": 1.0, "set_area_to_bounds": False}
    positive = entries(prompts[0], half)
    plain = stock(eps, positive, prompts[2], latent(), steps=1)
    ours = noise_method.holds(eps, positive, prompts[2], latent(), steps=1)
    assert torch.allclose(ours[..., 4:], plain[..., 4:], atol=1e-4)
    assert differs(ours[..., :4], plain[..., :4], by=1e-2)


def test_timestep_range_of_the_prompt_is_the_unsafe_texts_too(eps, prompts, noise_method):
    """Outside it the host evaluates what it does in a stock run; in it, the method acts."""
    positive = call(base_nodes.ConditioningSetTimestepRange, conditioning=prompts[0], start=0.3, end=0.7)[0]
    with count_rows(eps) as stock_rows:
        stock(eps, positive, prompts[2], latent(), steps=12)
    with count_rows(eps) as seen:
        noise_method.by_guider(eps, positive, prompts[2], latent(), steps=12)
    assert set(stock_rows.rows) == {1, 2}
    assert seen.rows == [{1: 1, 2: noise_method.rows}[rows] for rows in stock_rows.rows]
    noise_method.holds(eps, positive, prompts[2], latent(), steps=12)


def test_prompt_scheduling_under_a_method(eps, prompts, method):
    """Another text in the second half: one row for each unsafe text throughout."""
    ranges = [{"start_percent": 0.0, "end_percent": 0.5}, {"start_percent": 0.5, "end_percent": 1.0}]
    written = entries(prompts[0], *ranges)
    written[1][0] = conditioning(31)[0][0]
    with count_rows(eps) as seen:
        method.holds(eps, written, prompts[2], latent(), steps=8)
    assert set(seen.rows) == {2, method.rows}


@pytest.mark.parametrize("on_negative", [False, True], ids=["prompt only", "prompt and negative"])
def test_controlnet_of_the_prompt_guides_the_unsafe_texts_too(eps, prompts, method, on_negative):
    """The same object, so the host batches all rows; without it the picture would be another."""
    positive, _, negative = controlled(prompts, controlnet(), on_negative)
    with count_rows(eps) as seen:
        ours = method.holds(eps, positive, negative, latent())
    assert set(seen.rows) == {2, method.rows}
    assert differs(ours, method.by_guider(eps, prompts[0], prompts[2], latent()))


def test_concat_latents_under_a_method(prompts, method):
    """A 9-channel UNet: masked picture and mask go with the prompt, and the unsafe texts take them."""
    added = {"concat_latent_image": latent(seed=8)["samples"], "concat_mask": left_half()}
    method.holds(unet_model(in_channels=9), entries(prompts[0], added), entries(prompts[2], added), latent(seed=3))


def test_prompt_hooks_are_the_unsafe_texts_too(pack, prompts):
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks

    model = unet_model()
    hooks = {"hooks": comfy.hooks.create_hook_lora(lora=lora(model), strength_model=1.0, strength_clip=0.0)}
    for method in every(pack):
        hooked = method.holds(model, entries(prompts[0], hooks), entries(prompts[2], hooks), latent())
        assert differs(hooked, method.by_guider(model, prompts[0], prompts[2], latent())), method


# --- models --------------------------------------------------------------------------------------------------------


def test_lora_patched_model_under_a_method(prompts, method):
    model = unet_model()
    plain = stock(model, prompts[0], prompts[2], latent())
    patched = comfy.sd.load_lora_for_models(model, None, lora(model), 1.0, 0.0)[0]
    ours = method.holds(patched, prompts[0], prompts[2], latent())
    assert differs(ours, method.by_guider(model, prompts[0], prompts[2], latent()))
    assert torch.equal(plain, stock(model, prompts[0], prompts[2], latent())), "the LoRA stayed on the model"


def test_velocity_prediction_under_a_method(prompts, method):
    method.holds(unet_model("V_PREDICTION"), prompts[0], prompts[2], latent())


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_flow_model_like_sd3_under_a_method(prompts, method, cfg):
    model = sd3_model()
    for sampler_name in ("euler", "dpmpp_2m", "heun"):
        method.holds(model, prompts[0], prompts[2], latent(16), cfg=cfg, sampler_name=sampler_name)


def test_flow_model_like_flux_under_a_method(pack, prompts):
    """The distilled guidance is the prompt's own."""
    require(hasattr(comfy.model_base, "Flux"), "Flux")
    guided = entries(prompts[0], {"guidance": 2.5})
    model = flux_model()
    for method in every(pack):
        for cfg in (1.0, 4.0):
            ours = method.holds(model, guided, prompts[2], latent(16), cfg=cfg)
            without = method.by_guider(model, prompts[0], prompts[2], latent(16), cfg=cfg)
            assert differs(ours, without, by=1e-5), method


def test_video_latents_under_a_method(pack, prompts):
    require(hasattr(comfy.model_base, "WAN21"), "Wan")
    model, masked = video_model(), {**latent(16, frames=3, seed=2), "noise_mask": left_half()}
    for method in every(pack):
        for sampler_name in ("euler", "uni_pc"):
            ours = method.holds(model, prompts[0], prompts[2], latent(16, frames=3), sampler_name=sampler_name)
        assert ours.shape == (1, 16, 3, 8, 8)
        method.holds(model, prompts[0], prompts[2], masked)
