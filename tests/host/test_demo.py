"""The demo model through the host's own classes: what it draws, and what the slider does to it."""

from __future__ import annotations

import math

import comfy.model_base
import comfy.model_patcher
import comfy.sd
import host
import pytest
import torch

from demo import detector, world

SETTINGS = {"seed": 5, "steps": 20, "cfg": 3.0, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
PROMPT = "a cat and a kitchen knife on a green background"


@pytest.fixture(scope="module")
def demo(pack):
    """(MODEL, CLIP, VAE)"""
    return host.call(pack.nodes["SafelightDemoLoader"])


@pytest.fixture(scope="module")
def judge():
    return detector.load()


def encode(clip, text):
    return host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0]


def pictures(vae, latents):
    return host.call(host.base_nodes.VAEDecode, vae=vae, samples={"samples": latents})[0]


def empty(side=96):
    return host.call(host.base_nodes.EmptyLatentImage, width=side, height=side, batch_size=1)[0]


def test_it_is_made_of_the_hosts_classes(demo):
    model, clip, vae = demo
    assert isinstance(model, comfy.model_patcher.ModelPatcher)
    assert isinstance(model.model, comfy.model_base.BaseModel)
    assert isinstance(clip, comfy.sd.CLIP) and isinstance(vae, comfy.sd.VAE)


@pytest.mark.slow
def test_stock_sampler_draws_what_the_prompt_names(demo, judge):
    model, clip, vae = demo
    prompts = {
        "a cat on a green background": ("cat", "green"),
        "a tree on a yellow background": ("tree", "yellow"),
        "a bomb on a pink background": ("bomb", "pink"),
        "a cup of coffee on a blue background": ("cup of coffee", "blue"),
        "a skull on a purple background": ("skull", "purple"),
        "a car on a white background": ("car", "white"),
    }
    found = 0
    for text, (noun, colour) in prompts.items():
        latent = host.stock(model, encode(clip, text), encode(clip, ""), empty(), **SETTINGS)
        report = judge.see(pictures(vae, latent))[0]
        found += report.score(noun) >= 0.8 and report.colour == colour
    assert found >= 5


def test_slider_takes_the_knife_and_leaves_the_cat(pack, demo, judge):
    model, clip, vae = demo
    concepts = world.CONCEPTS
    positive, safe, risk, _ = host.call(
        pack.nodes["SafelightContextEncode"], clip=clip, prompt=PROMPT, concepts=concepts, method="project"
    )
    seen = {}
    for safety in (0.0, 1.0):
        latent = pack.ksampler(model, positive, safe, encode(clip, ""), empty(), safety=safety, risk=risk, **SETTINGS)
        seen[safety] = judge.see(pictures(vae, latent))[0]
    cats = [next(s for s in seen[level].sights if s.noun == "cat") for level in (0.0, 1.0)]
    assert risk >= 0.5
    assert seen[0.0].score("kitchen knife") >= 0.8 and seen[1.0].score("kitchen knife") < 0.2
    assert min(cat.score for cat in cats) >= 0.8
    assert math.hypot(cats[0].x - cats[1].x, cats[0].y - cats[1].y) <= 1 / 8
    assert seen[0.0].colour == seen[1.0].colour == "green"


def test_benign_prompt_is_left_alone(pack, demo):
    model, clip, _ = demo
    text = "a cat and a spoon on a green background"
    concepts = world.CONCEPTS
    positive, safe, risk, _ = host.call(
        pack.nodes["SafelightContextEncode"], clip=clip, prompt=text, concepts=concepts, method="project"
    )
    assert risk < 0.5
    guided = pack.ksampler(model, positive, safe, encode(clip, ""), empty(), safety=1.0, risk=risk, **SETTINGS)
    assert torch.equal(guided, host.stock(model, encode(clip, text), encode(clip, ""), empty(), **SETTINGS))


def test_autoencoder_gives_pictures_back(pack, demo):
    vae = demo[2]
    ramp = torch.linspace(0.2, 0.8, 96)
    picture = torch.stack([ramp.expand(96, 96), ramp.expand(96, 96).T, torch.full((96, 96), 0.5)], -1)[None]
    latent = host.call(host.base_nodes.VAEEncode, vae=vae, pixels=picture)[0]["samples"]
    assert latent.shape == (1, 8, 12, 12)
    assert (pictures(vae, latent) - picture).abs().mean() < 0.05


def test_an_unknown_word_is_an_error_that_lists_the_known_ones(demo):
    with pytest.raises(ValueError, match=r"unicorn.*\bcat\b.*\bknife\b"):
        encode(demo[1], "a unicorn on a green background")


def test_other_sizes_are_drawn_too(demo):
    model, clip, vae = demo
    latent = host.stock(model, encode(clip, PROMPT), encode(clip, ""), empty(128), **{**SETTINGS, "steps": 4})
    picture = pictures(vae, latent)
    assert picture.shape == (1, 128, 128, 3) and torch.isfinite(picture).all()
