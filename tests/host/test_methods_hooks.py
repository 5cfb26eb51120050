"""The host's hooks around the sampling function, and nodes that use them, under the methods to compare with."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from host import SAMPLERS, call, count_rows, extra_node, require, stock
from methods import ALL, NAMES, Method, differs, every
from tiny_models import latent

CFG_PP = [name for name in SAMPLERS if name.endswith("_cfg_pp")]


@pytest.fixture(params=ALL)
def method(request, pack):
    return Method(pack, request.param)


@pytest.fixture(params=NAMES)
def noise_method(request, pack):
    return Method(pack, request.param)


def acts(method, model, without, prompts, **settings):
    """`holds`, and the node of another pack that made `model` of `without` has its part in the guided picture."""
    size = settings.pop("size", 8)
    ours = method.holds(model, prompts[0], prompts[2], latent(size=size), **settings)
    assert differs(ours, method.by_guider(without, prompts[0], prompts[2], latent(size=size), **settings))


def test_perturbed_attention_guidance_under_a_method(eps, prompts, method):
    node = extra_node("nodes_pag", "PerturbedAttentionGuidance")
    acts(method, call(node, model=eps, scale=3.0)[0], eps, prompts)


def test_self_attention_guidance_under_a_method(eps, prompts, method):
    """It stores attention scores of the row that it takes for the negative, by cond_or_uncond."""
    node = extra_node("nodes_sag", "SelfAttentionGuidance")
    acts(method, call(node, model=eps, scale=0.5, blur_sigma=2.0)[0], eps, prompts, size=16, steps=3)


def test_cfg_function_of_the_model_under_a_method(eps, prompts, method):
    node = extra_node("nodes_model_advanced", "RescaleCFG")
    acts(method, call(node, model=eps, multiplier=0.7)[0], eps, prompts)


def test_fresca_under_a_method(pack, eps, prompts):
    node = extra_node("nodes_fresca", "FreSca")
    for method in every(pack):
        acts(method, call(node, model=eps, scale_low=1.1, scale_high=1.25, freq_cutoff=2)[0], eps, prompts)


def test_cfg_zero_star_under_a_method(pack, eps, prompts):
    for method in every(pack):
        acts(method, call(extra_node("nodes_cfg", "CFGZeroStar"), model=eps)[0], eps, prompts)


def hooked(model, kind):
    """A clone of the model with a hook that changes the prediction, and what the hook was shown."""
    seen, model = [], model.clone()

    def pre(args):
        seen.append(args)
        return [args["conds_out"][0] * 0.9, *args["conds_out"][1:]]

    def post(args):
        seen.append(args)
        return args["denoised"] * 0.9

    if kind == "pre":
        require(hasattr(model, "set_model_sampler_pre_cfg_function"), "pre-CFG hooks")
        model.set_model_sampler_pre_cfg_function(pre)
    else:
        model.set_model_sampler_post_cfg_function(post)
    return model, seen


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_pre_cfg_hook_under_a_method(pack, eps, prompts, cfg):
    for method in every(pack, NAMES):
        hooks_see_what_stock_shows(eps, prompts, method, "pre", cfg)


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_post_cfg_hook_under_a_method(eps, prompts, noise_method, cfg):
    hooks_see_what_stock_shows(eps, prompts, noise_method, "post", cfg)


def hooks_see_what_stock_shows(eps, prompts, method, kind, cfg):
    """Once a call, with stock's keys, the written prompt and the negative; none of it at cfg 1, as in stock."""
    model, seen = hooked(eps, kind)
    stock(model, prompts[0], prompts[2], latent(), cfg=cfg)
    expected = seen[:]
    acts(method, model, eps, prompts, cfg=cfg)
    for sample in method.ways().values():
        seen.clear()
        sample(model, prompts[0], prompts[2], latent(), cfg=cfg)
        assert len(seen) == len(expected) == 6
        for args, stocks in zip(seen, expected, strict=True):
            assert set(args) == set(stocks)
            conds, stock_conds = (
                given.get("conds", [given.get("cond"), given.get("uncond")]) for given in (args, stocks)
            )
            for shown, stock_shown in zip(conds, stock_conds, strict=True):
                assert (shown is None) == (stock_shown is None)
                if shown is not None:
                    assert [id(entry["cross_attn"]) for entry in shown] == [id(e["cross_attn"]) for e in stock_shown]
        first, stock_first = seen[0], expected[0]
        shown, stock_shown = (
            [given["conds_out"][0], given["conds_out"][1]]
            if kind == "pre"
            else [given["cond_denoised"], given["uncond_denoised"]]
            for given in (first, stock_first)
        )
        assert differs(shown[0], stock_shown[0]), "the written prompt's prediction is the steered one"
        assert torch.allclose(shown[1], stock_shown[1], atol=1e-4), "the negative's is its own"


def test_model_function_wrapper_under_a_method(eps, prompts, method):
    """A wrapper that indexes (cond, uncond) by cond_or_uncond, as the host hands it over."""
    scale, shown, model = (1.05, 0.95), [], eps.clone()

    def wrapper(apply_model, args):
        shown.append(tuple(sorted(args["cond_or_uncond"])))
        rows = args["input"].shape[0] // len(args["cond_or_uncond"])
        factors = torch.tensor([scale[index] for index in args["cond_or_uncond"]]).repeat_interleave(rows)
        out = apply_model(args["input"], args["timestep"], **args["c"])
        return out * factors.reshape(-1, *[1] * (out.ndim - 1))

    model.set_model_unet_function_wrapper(wrapper)
    ours = method.holds(model, prompts[0], prompts[2], latent(batch=2))
    assert differs(ours, method.by_guider(eps, prompts[0], prompts[2], latent(batch=2)))
    assert set(shown) == {(0, 1), (*[0] * (method.rows - 1), 1)}


def test_patch_that_indexes_pairs_under_a_method(eps, prompts, method):
    """An attention patch of another pack gets pairs alone: each unsafe text with the negative, as the positive one."""
    shown, scale, model = [], (1.1, 0.9), eps.clone()

    def patch(n, context, value, extra_options):
        indices = extra_options["cond_or_uncond"]
        shown.append(tuple(sorted(indices)))
        rows = n.shape[0] // len(indices)
        factors = torch.tensor([scale[index] for index in indices]).repeat_interleave(rows).reshape(-1, 1, 1)
        return n * factors, context, value

    model.set_model_attn2_patch(patch)
    acts(method, model, eps, prompts)
    assert set(shown) == {(0, 1)}


@pytest.mark.parametrize("sampler_name", ["euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2m_cfg_pp"])
def test_cfg_pp_under_a_method(pack, eps, prompts, sampler_name):
    require(CFG_PP, "CFG++ samplers")
    for method in every(pack):
        for cfg in (1.5, 1.0):
            method.holds(eps, prompts[0], prompts[2], latent(), sampler_name=sampler_name, cfg=cfg)


@pytest.mark.parametrize("name", ["EasyCache", "LazyCache"])
def test_step_caches_under_a_method(pack, eps, prompts, name):
    """A cache that skips model calls: stock at strength 0, and no failure where the unsafe texts join in mid-run."""
    node = extra_node("nodes_easycache", f"{name}Node")
    model = call(node, model=eps, reuse_threshold=0.3, start_percent=0.1, end_percent=0.95, verbose=False)[0]
    settings = {"steps": 16, "scheduler": "karras"}
    with count_rows(model, "_forward") as seen:
        stock(model, prompts[0], prompts[2], latent(), **settings)
    assert 4 < seen.calls < 16, "the cache has to skip some calls, and not all"
    for method in every(pack):
        method.holds(model, prompts[0], prompts[2], latent(), **settings)
    Method(pack, "SLD").holds(model, prompts[0], prompts[2], latent(), **settings, preset="weak")


def test_another_packs_evaluation_of_pairs_under_a_method(eps, prompts, noise_method):
    """It keeps getting pairs: (written, negative), then each unsafe text by itself."""
    asked, model = [], eps.clone()

    def replaced(args):
        asked.append(tuple(cond is not None for cond in args["conds"]))
        return comfy.samplers.calc_cond_batch(
            args["model"],
            args["conds"],
            args["input"],
            args["sigma"],
            {**args["model_options"], "sampler_calc_cond_batch_function": None},
        )

    model.model_options["sampler_calc_cond_batch_function"] = replaced
    ours = noise_method.by_guider(model, prompts[0], prompts[2], latent())
    assert asked == [(True, True), *[(True, False)] * (noise_method.rows - 2)] * 6
    assert not differs(ours, noise_method.by_guider(eps, prompts[0], prompts[2], latent()), by=1e-3)
