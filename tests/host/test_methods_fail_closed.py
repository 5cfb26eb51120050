"""The methods to compare with fail closed: an error that names the input, or guidance; never a picture without."""

from __future__ import annotations

import math

import pytest
import tiny_encoders
import torch
from host import base_nodes, call, extra, has_wrappers, require, stock
from methods import ALL, NAMES, Method, differs, every, run_guider
from test_fail_closed import guiders_of_the_host, refused
from test_hosts_features import lora
from tiny_models import latent, unet_model

from safelight.engine import method_setup


@pytest.fixture(params=ALL)
def method(request, pack):
    return Method(pack, request.param)


def all_refuse(method, name, model, prompts, **settings):
    """By every way; with an error that starts with the input's name."""
    for sample in method.ways().values():
        refused(name, sample, model, prompts[0], prompts[2], latent(), **settings)


@pytest.mark.parametrize("text", ["", " \n\t\n ", None, 3], ids=repr)
def test_unsafe_texts_that_are_none(eps, prompts, method, text):
    all_refuse(method, method.texts_called, eps, prompts, **{method.texts_called: text})


@pytest.mark.parametrize("prompt", [None, 3], ids=repr)
def test_prompt_of_safree_that_is_no_text(pack, eps, prompts, prompt):
    all_refuse(Method(pack, "SAFREE"), "prompt", eps, prompts, prompt=prompt)


@pytest.mark.parametrize("strength", [math.nan, math.inf, -0.1, 4.5, None, "high"], ids=str)
def test_strength_that_is_none(eps, prompts, method, strength):
    all_refuse(method, "strength", eps, prompts, strength=strength)


@pytest.mark.parametrize("preset", ["hyper", "", None, 3], ids=repr)
@pytest.mark.parametrize("name", ["SLD", "CASG"])
def test_unknown_preset(pack, eps, prompts, name, preset):
    all_refuse(Method(pack, name), "preset", eps, prompts, preset=preset)


def test_no_text_encoder(eps, prompts, method):
    all_refuse(method, "clip", eps, prompts, clip=None)


def test_text_encoder_of_another_width(eps, prompts, method):
    """The prompt's states are 32 wide, this one's 24."""
    all_refuse(method, "clip", eps, prompts, clip=tiny_encoders.clip("SD1"))


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("where", ["states", "pooled"])
def test_text_encoder_that_returns_no_numbers(eps, prompts, method, where, bad):
    """As encoders in half precision do for some texts."""
    broken = tiny_encoders.fitting_clip()
    encode = broken.cond_stage_model.encode_token_weights

    def poisoned(tokens):
        states, pooled = encode(tokens)
        states, pooled = states.clone(), pooled.clone()
        (states if where == "states" else pooled)[..., 1] = bad
        return states, pooled

    broken.cond_stage_model.encode_token_weights = poisoned
    named = "clip" if method.name == "SAFREE" else method.texts_called
    all_refuse(method, named, eps, prompts, clip=broken)


def test_prompt_that_is_never_active_where_the_method_acts(pack, eps, prompts):
    """Its timestep range lies within the warm-up: an error after the run, not a picture."""
    positive = call(base_nodes.ConditioningSetTimestepRange, conditioning=prompts[0], start=0.0, end=0.2)[0]
    for way, sample in Method(pack, "SLD").ways().items():
        with pytest.raises(ValueError, match="not guided"):
            sample(eps, positive, prompts[2], latent(), preset="weak", steps=12)
            pytest.fail(f"{way} gave a picture")


def test_network_that_gives_no_numbers(prompts, method):
    """It reaches the picture, as in a stock run: no branch hides it."""
    model = unet_model()
    model.model.diffusion_model.out[-1].bias.fill_(math.nan)
    assert torch.isnan(method.by_guider(model, prompts[0], prompts[2], latent(), steps=1)).all()


def test_run_without_a_step_is_the_stock_samplers(eps, prompts, method):
    """denoise 0: nothing to guide and nothing to say."""
    settings = {"denoise": 0.0}
    plain = stock(eps, prompts[0], prompts[2], latent(seed=3), **settings)
    for sample in method.ways().values():
        assert torch.equal(sample(eps, prompts[0], prompts[2], latent(seed=3), **settings), plain)


# --- the model patch -----------------------------------------------------------------------------------------------


def test_method_patch_is_absent_where_it_cannot_work(pack, method):
    assert (f"Safelight{method.name}Patch" in pack.nodes) == has_wrappers()
    assert f"Safelight{method.name}Guider" in pack.nodes


def test_method_patch_refuses_guiders_of_their_own_kind(pack, eps, prompts):
    """The host's, and the method's own, which guides already."""
    for method in every(pack):
        patched, _ = method.patch(eps)
        guiders = [*guiders_of_the_host(patched, prompts), method.guider(patched, prompts[0], prompts[2])[0]]
        for guider in guiders:
            with pytest.raises(ValueError, match=f"^model: .*{method.name} Model Patch.*{type(guider).__name__}"):
                run_guider(guider, eps, latent())


def test_method_patch_refuses_a_second_patch(pack, eps, prompts):
    """Of its own kind, of another method, of Safelight itself; behind it or before it."""
    for method, other in zip(every(pack), reversed(every(pack)), strict=True):
        patched, _ = method.patch(eps)
        pairs = [
            method.patch(patched)[0],
            other.patch(patched)[0],
            pack.patch(patched, prompts[1]),
            method.patch(pack.patch(eps, prompts[1]))[0],
        ]
        for twice in pairs:
            refused("model", stock, twice, prompts[0], prompts[2], latent())


def test_method_patch_points_to_the_guider_for_prompt_hooks(pack, monkeypatch):
    """A text encoder whose conditionings carry a LoRA for the model."""
    require(has_wrappers(), "conditioning hooks")
    import comfy.hooks

    model = unet_model()
    hooks = comfy.hooks.create_hook_lora(lora=lora(model), strength_model=1.0, strength_clip=0.0)
    encode = method_setup.encode_prompt
    monkeypatch.setattr(
        method_setup,
        "encode_prompt",
        lambda clip, text: [[states, {**extras, "hooks": hooks}] for states, extras in encode(clip, text)],
    )
    for method in every(pack, NAMES):
        with pytest.raises(ValueError, match=f"Safelight {method.name} Guider"):
            method.patch(model)


def test_method_patch_leaves_the_model_that_it_was_given_alone(pack, eps, prompts):
    before = stock(eps, prompts[0], prompts[2], latent())
    for method in every(pack):
        patched, _ = method.patch(eps)
        assert patched is not eps
        assert torch.equal(stock(eps, prompts[0], prompts[2], latent()), before)


def test_method_patch_works_with_the_hosts_plain_guider(pack, eps, prompts):
    require(has_wrappers(), "model wrappers")
    node = extra("nodes_custom_sampler").CFGGuider
    for method in every(pack):
        guider = call(node, model=method.patch(eps)[0], positive=prompts[0], negative=prompts[2], cfg=5.0)[0]
        ours = run_guider(guider, eps, latent())
        assert torch.equal(ours, method.by_guider(eps, prompts[0], prompts[2], latent())), method
        assert differs(ours, stock(eps, prompts[0], prompts[2], latent())), method
