"""Inputs that gave an unguarded picture, a crash or bad advice once.

Each test states the right behaviour: guidance, or an error that names the input, or a note where the picture is right.
"""

from __future__ import annotations

import copy
import json
import math
import re

import comfy.model_patcher
import comfy.samplers
import host
import pytest
import tiny_encoders
import torch
from host import base_nodes, call, extra, extra_node, sigmas_of
from methods import Method, differs
from planted_words import planted, with_few_anchors
from safelight_pack import custom_sample
from test_fail_closed import guiders_of_the_host, refused, routes
from test_hosts_features import entries, left_half
from tiny_models import latent

# --- a safe prompt, a mask or a curve of nothing -----------------------------------------------------------------


def masked(safe, mask, strength):
    node = base_nodes.ConditioningSetMask
    return call(node, conditioning=safe, mask=mask, strength=strength, set_cond_area="default")[0]


NOWHERE = {
    "mask of zeros": lambda safe: masked(safe, torch.zeros(1, 64, 64), 1.0),
    "mask of NaN": lambda safe: masked(safe, torch.full((1, 64, 64), math.nan), 1.0),
    "mask strength 0": lambda safe: masked(safe, left_half(), 0.0),
    "area strength 0": lambda safe: entries(safe, {"area": (8, 8, 0, 0), "strength": 0.0}),
}


@pytest.mark.parametrize("place", list(NOWHERE))
def test_a_safe_prompt_that_reaches_no_cell_is_refused(pack, eps, prompts, place):
    positive, safe, negative = prompts
    for sample in routes(pack).values():
        refused("safe: ", sample, eps, positive, NOWHERE[place](safe), negative, latent(), steps=2, safety=1.0)


@pytest.mark.parametrize("height", [1e-12, 5e-324])
def test_a_curve_of_next_to_nothing_is_refused(pack, eps, prompts, height):
    curve = {"points": [[0, height], [1, height]], "interpolation": "linear"}
    for name, sample in routes(pack).items():
        with pytest.raises(ValueError, match="curve"):
            sample(eps, *prompts, latent(), steps=2, safety=1.0, schedule=curve)
            pytest.fail(f"{name} gave a picture")


def test_a_mask_of_next_to_nothing_is_refused(pack, eps, prompts):
    for sample in routes(pack).values():
        refused("mask: ", sample, eps, *prompts, latent(), steps=2, safety=1.0, mask=torch.full((1, 64, 64), 1e-30))


def said(name, run):
    """Checks that a run is refused by an error that names the input, or has a note that does."""
    try:
        notes = run()["notes"]
    except ValueError as error:
        assert str(error).startswith(f"{name}: ")
        return
    assert any(re.search(rf"\b{name}\b", note) for note in notes), f"no note names {name}: {notes}"


@pytest.mark.parametrize("way", ["reported", "strip"])
def test_a_safe_prompt_that_is_the_positive_one_is_said(pack, eps, prompts, way):
    positive, _, negative = prompts
    twin = [[positive[0][0].clone(), dict(positive[0][1])]]
    for safe in (positive, twin):
        said("safe", lambda safe=safe: getattr(pack, way)(eps, positive, safe, negative, latent(), steps=2)[1])


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("strength", {"method": "project", "strength": 0.0}),
        ("strength", {"method": "subtract", "strength": 0.0}),
        ("safe_prompt", {"method": "typed", "safe_prompt": "a cat and a knife"}),
        ("stand_ins", {"stand_ins": "knife = knife"}),
    ],
    ids=["project", "subtract", "typed", "rewrite"],
)
def test_context_encode_says_where_safe_is_the_prompt_as_written(pack, name, inputs):
    clip = with_few_anchors(planted(tiny_encoders.clip("SD1")))
    node = pack.nodes["SafelightContextEncode"]()

    def verdict():
        out = node.encode(clip, "a cat and a knife", concepts="weapon, blood", **inputs)
        (positive, _), (safe, _) = (out["result"][i][0] for i in (0, 1))
        assert not differs(safe, positive, by=1e-5)
        return json.loads(out["ui"]["safelight_verdict"][0])

    said(name, verdict)


# --- noise levels ------------------------------------------------------------------------------------------------


def guider_of(pack, model, prompts, **settings):
    positive, safe, negative = prompts
    node = pack.nodes["SafelightGuider"]
    return call(node, model=model, positive=positive, safe=safe, negative=negative, cfg=5.0, **settings)[0]


def stock_guider(model, prompts):
    node = extra_node("nodes_custom_sampler", "CFGGuider")
    return call(node, model=model, positive=prompts[0], negative=prompts[2], cfg=5.0)[0]


@pytest.mark.parametrize(("safety", "sigmas"), [(0.2, [14.6, 5.0, 1e-3]), (1.0, [14.0, 0.03])], ids=str)
def test_a_run_that_ends_just_above_zero_is_guided(pack, eps, prompts, safety, sigmas):
    """What is left of the noise, no eye sees; the model's own noise levels end there."""
    plain = custom_sample(stock_guider(eps, prompts), torch.tensor(sigmas), latent(), host.SETTINGS)
    ours = custom_sample(guider_of(pack, eps, prompts, safety=safety), torch.tensor(sigmas), latent(), host.SETTINGS)
    assert differs(ours, plain), "unguarded"


# --- tiles -------------------------------------------------------------------------------------------------------


def euler_on_halves(model, x, sigmas, extra_args=None, **_):
    """Euler's method, the model seeing the left and the right half of the picture one by one."""
    for sigma, following in zip(sigmas, sigmas[1:], strict=False):
        halves = [model(half, sigma.expand(x.shape[0]), **extra_args) for half in x.chunk(2, dim=-1)]
        x = x + (x - torch.cat(halves, dim=-1)) / sigma * (following - sigma)
    return x


@pytest.mark.parametrize("way", ["guider", "patch"])
def test_a_tile_gets_its_own_part_of_the_mask(pack, eps, prompts, way):
    """Or an error that names the mask. The mask is the right half, which is the second tile."""
    positive, safe, negative = prompts
    custom = extra("nodes_custom_sampler")

    def sample(guider):
        return call(
            custom.SamplerCustomAdvanced,
            noise=call(custom.RandomNoise, noise_seed=7)[0],
            guider=guider,
            sampler=comfy.samplers.KSAMPLER(euler_on_halves),
            sigmas=sigmas_of(eps, steps=1),
            latent_image=latent(),
        )[0]["samples"]

    settings = {"safety": 1.0, "schedule": pack.schedule(), "mask": 1 - left_half()}
    if way == "guider":
        guider = guider_of(pack, eps, prompts, **settings)
    else:
        guider = stock_guider(pack.patch(eps, safe, **settings), prompts)
    written, guarded = (sample(stock_guider(eps, (text, safe, negative))) for text in (positive, safe))
    try:
        ours = sample(guider)
    except ValueError as error:
        assert str(error).startswith("mask: ")
        return
    assert torch.allclose(ours[..., 4:], guarded[..., 4:], atol=1e-4), "a part of the second tile is unguarded"
    assert torch.allclose(ours[..., :4], written[..., :4], atol=1e-4), "a part of the first tile is guarded"


def test_a_mask_of_another_shape_than_the_picture_is_refused(pack, eps, prompts):
    """A sampler that runs tile by tile hands over a tile as the picture: where it lies, nothing tells."""
    tile = {"samples": latent()["samples"][..., :4]}
    for sample in routes(pack).values():
        refused("mask: ", sample, eps, *prompts, tile, steps=2, mask=1 - left_half())


# --- other packs' guiders ----------------------------------------------------------------------------------------


def run_to_zero(guider, model):
    return custom_sample(guider, sigmas_of(model, steps=2), latent(), host.SETTINGS)


def guided_or_refused(guider, model, plain):
    """Checks that a guider guides, or refuses with an error that names the safe prompt."""
    try:
        ours = run_to_zero(guider, model)
    except ValueError as error:
        assert str(error).startswith("safe: ")
        return
    assert differs(ours, plain), "unguarded"


def test_a_copied_guider_without_its_safe_prompt_guides_or_says_so(pack, eps, prompts):
    """As packs do that set the conditionings of a tile or a region on a copy of the guider."""
    guider = copy.copy(guider_of(pack, eps, prompts, safety=1.0))
    guider.original_conds = {key: guider.original_conds[key] for key in ("positive", "negative")}
    guided_or_refused(guider, eps, run_to_zero(stock_guider(eps, prompts), eps))


def test_a_stock_guider_rebuilt_from_ours_guides_or_says_so(pack, eps, prompts):
    ours = guider_of(pack, eps, prompts, safety=1.0)
    rebuilt = comfy.samplers.CFGGuider(ours.model_patcher)
    rebuilt.original_conds = {key: ours.original_conds[key] for key in ours.original_conds}
    rebuilt.set_cfg(ours.cfg)
    guided_or_refused(rebuilt, eps, run_to_zero(stock_guider(eps, prompts), eps))


@pytest.mark.parametrize("name", ["Safelight", "SLD"])
def test_the_patchs_refusal_of_a_guider_advises_a_guarded_way(pack, eps, prompts, name):
    patched = pack.patch(eps, prompts[1]) if name == "Safelight" else Method(pack, name).patch(eps)[0]
    for guider in guiders_of_the_host(patched, prompts):
        text = refused("model: ", run_to_zero, guider, eps)
        assert "without the patch" not in text
        assert f"{name} Guider" in text or "CFGGuider" in text
