"""The host's hooks around the sampling function, and nodes that use them: `ends` holds with each of them."""

from __future__ import annotations

import pytest
import torch
from both_ends import ends
from host import (
    SAMPLERS,
    call,
    count_rows,
    extra_node,
    require,
    stock,
)
from tiny_models import latent


def test_perturbed_attention_guidance(pack, eps, prompts):
    node = extra_node("nodes_pag", "PerturbedAttentionGuidance")
    ends(pack, call(node, model=eps, scale=3.0)[0], prompts, latent())


def test_self_attention_guidance(pack, eps, prompts):
    """It stores attention scores of the row that it takes for the negative, by cond_or_uncond."""
    model = call(extra_node("nodes_sag", "SelfAttentionGuidance"), model=eps, scale=0.5, blur_sigma=2.0)[0]
    ends(pack, model, prompts, latent(size=16))


def test_cfg_function_of_the_model(pack, eps, prompts):
    model = call(extra_node("nodes_model_advanced", "RescaleCFG"), model=eps, multiplier=0.7)[0]
    ends(pack, model, prompts, latent())


def test_fresca(pack, eps, prompts):
    model = call(extra_node("nodes_fresca", "FreSca"), model=eps, scale_low=1.1, scale_high=1.25, freq_cutoff=2)[0]
    ends(pack, model, prompts, latent())


def test_cfg_zero_star(pack, eps, prompts):
    ends(pack, call(extra_node("nodes_cfg", "CFGZeroStar"), model=eps)[0], prompts, latent())


def test_pre_cfg_hook_sees_pairs(pack, eps, prompts):
    """Hooks run once a call, on [c, negative] and [prediction, negative's prediction], also at cfg 1."""
    require(hasattr(eps, "set_model_sampler_pre_cfg_function"), "pre-CFG hooks")
    seen = []

    def hook(args):
        seen.append((len(args["conds"]), len(args["conds_out"]), args["conds"][1] is None, args["cond_scale"]))
        return [args["conds_out"][0] * 0.9, *args["conds_out"][1:]]

    model = eps.clone()
    model.set_model_sampler_pre_cfg_function(hook)
    ends(pack, model, prompts, latent())
    assert set(seen) == {(2, 2, False, 5.0)}
    assert len(seen) == 5 * 6
    seen.clear()
    ends(pack, model, prompts, latent(), cfg=1.0)
    assert set(seen) == {(2, 2, True, 1.0)}


def test_post_cfg_hook_sees_the_merged_prediction(pack, eps, prompts):
    """Once a call, with stock's keys: cond_denoised is the blend, cond the prompt that has the larger part of it."""
    positive, safe, negative = prompts
    seen = []
    model = eps.clone()
    model.set_model_sampler_post_cfg_function(lambda args: seen.append(args) or args["denoised"])
    stock(model, positive, negative, latent())
    keys = set(seen[0])
    for safety, text in ((0.3, positive), (0.7, safe)):
        seen.clear()
        pack.ksampler(model, positive, safe, negative, latent(), safety=safety, schedule=pack.schedule())
        assert len(seen) == 6
        for args in seen:
            assert set(args) == keys
            assert torch.equal(args["cond"][0]["cross_attn"], text[0][0])
            assert torch.equal(args["uncond"][0]["cross_attn"], negative[0][0])
            cfg = args["uncond_denoised"] + (args["cond_denoised"] - args["uncond_denoised"]) * 5.0
            assert torch.allclose(args["denoised"], cfg, atol=1e-5)


def test_model_function_wrapper(pack, eps, prompts):
    """A wrapper that indexes (cond, uncond) by cond_or_uncond, as the host hands it over."""
    scale = (1.05, 0.95)
    model = eps.clone()

    def wrapper(apply_model, args):
        rows = args["input"].shape[0] // len(args["cond_or_uncond"])
        factors = torch.tensor([scale[index] for index in args["cond_or_uncond"]]).repeat_interleave(rows)
        out = apply_model(args["input"], args["timestep"], **args["c"])
        return out * factors.reshape(-1, *[1] * (out.ndim - 1))

    model.set_model_unet_function_wrapper(wrapper)
    ends(pack, model, prompts, latent(batch=2))


def test_patch_that_indexes_pairs_by_cond_or_uncond(pack, eps, prompts):
    """An attention patch of another pack gets pairs alone: the safe prompt with the negative, as the positive one."""
    shown = []
    scale = (1.1, 0.9)
    model = eps.clone()

    def patch(n, context, value, extra_options):
        indices = extra_options["cond_or_uncond"]
        shown.append(list(indices))
        rows = n.shape[0] // len(indices)
        factors = torch.tensor([scale[index] for index in indices]).repeat_interleave(rows).reshape(-1, 1, 1)
        return n * factors, context, value

    model.set_model_attn1_patch(patch)
    ends(pack, model, prompts, latent(batch=2))
    assert {tuple(sorted(indices)) for indices in shown} == {(0, 1)}


CFG_PP = [name for name in SAMPLERS if name.endswith("_cfg_pp")]


@pytest.mark.parametrize("sampler_name", ["euler_cfg_pp", "euler_ancestral_cfg_pp", "dpmpp_2m_cfg_pp"])
def test_cfg_pp(pack, eps, prompts, sampler_name):
    require(CFG_PP, "CFG++ samplers")
    assert sampler_name in CFG_PP
    ends(pack, eps, prompts, latent(), sampler_name=sampler_name, cfg=1.5)
    ends(pack, eps, prompts, latent(), sampler_name=sampler_name, cfg=1.0)


@pytest.mark.parametrize("name", ["EasyCache", "LazyCache"])
def test_step_caches(pack, eps, prompts, name):
    """A cache that skips model calls: the same at the ends, and no failure where the safe prompt joins in mid-run."""
    node = extra_node("nodes_easycache", f"{name}Node")
    model = call(node, model=eps, reuse_threshold=0.3, start_percent=0.1, end_percent=0.95, verbose=False)[0]
    settings = {"steps": 16, "scheduler": "karras"}
    positive, safe, negative = prompts
    with count_rows(model, "_forward") as seen:
        plain = stock(model, positive, negative, latent(), **settings)
    assert 4 < seen.calls < 16, "the cache has to skip some calls, and not all"
    ends(pack, model, prompts, latent(), **settings)
    for context in (0.2, 0.5, 0.8):
        schedule = pack.schedule(context=context)
        for sample in (pack.ksampler, pack.patched):
            ours = sample(model, positive, safe, negative, latent(), safety=0.7, schedule=schedule, **settings)
            assert torch.isfinite(ours).all()
            assert not torch.equal(ours, plain), "unguarded"
