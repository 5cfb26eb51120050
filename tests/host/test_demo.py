"""The demo model through the host's own classes: what it draws, and what the slider does to it."""

from __future__ import annotations

import logging
import math

import comfy.model_base
import comfy.model_patcher
import comfy.sd
import host
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench import methods
from demo import detector, world
from safelight.text.concepts import TEMPLATE_CONCEPTS

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


@pytest.mark.parametrize(
    ("method", "concepts"),
    [("auto", TEMPLATE_CONCEPTS), ("auto", world.CONCEPTS), ("project", world.CONCEPTS)],
    ids=["templates", "own words", "project"],
)
def test_slider_takes_the_knife_and_leaves_the_cat(pack, demo, judge, method, concepts):
    model, clip, vae = demo
    positive, safe, risk, _ = host.call(
        pack.nodes["SafelightContextEncode"], clip=clip, prompt=PROMPT, concepts=concepts, method=method
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


@pytest.mark.parametrize("method", ["auto", "project"])
def test_benign_prompt_is_left_alone(pack, demo, method):
    model, clip, _ = demo
    text = "a cat and a spoon on a green background"
    concepts = world.CONCEPTS
    positive, safe, risk, _ = host.call(
        pack.nodes["SafelightContextEncode"], clip=clip, prompt=text, concepts=concepts, method=method
    )
    assert risk < 0.5
    guided = pack.ksampler(model, positive, safe, encode(clip, ""), empty(), safety=1.0, risk=risk, **SETTINGS)
    assert torch.equal(guided, host.stock(model, encode(clip, text), encode(clip, ""), empty(), **SETTINGS))


@pytest.mark.parametrize("name", methods.LORAS)
def test_the_hosts_own_loader_knows_every_weight_of_the_committed_loras(demo, name):
    file = methods.PLACES[0] / methods.LORAS[name]
    lora = load_file(file)
    layers = {key.split(".")[0] for key in lora}
    model, _ = comfy.sd.load_lora_for_models(demo[0], None, lora, 1.0, 0.0)
    assert len(model.patches) == len(layers) > 0
    attention = ".attn1." if name == "DUO" else ".attn2."  # DUO trains where the picture attends to itself
    assert all(key.endswith(".weight") and attention in key for key in model.patches)


def test_autoencoder_gives_pictures_back(pack, demo):
    vae = demo[2]
    ramp = torch.linspace(0.2, 0.8, 96)
    picture = torch.stack([ramp.expand(96, 96), ramp.expand(96, 96).T, torch.full((96, 96), 0.5)], -1)[None]
    latent = host.call(host.base_nodes.VAEEncode, vae=vae, pixels=picture)[0]["samples"]
    assert latent.shape == (1, 8, 12, 12)
    assert (pictures(vae, latent) - picture).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("strange", "plain"),
    [
        ("a unicorn on a green background", "a on a green background"),
        ("a Unicorn-rider's cat, 8k!", "a cat,"),
        ("a cat (unicorn:1.3) on green", "a cat on green"),
        ("a gloriously_lit cat", "a cat"),
        ("zeppelin", ""),
    ],
)
def test_unknown_words_are_read_as_nothing(demo, strange, plain):
    states = [encode(demo[1], text)[0][0] for text in (strange, plain)]
    assert torch.equal(*states)


def test_an_unknown_word_is_logged_once(demo, caplog):
    with caplog.at_level(logging.WARNING, logger="Safelight"):
        for _ in range(2):
            encode(demo[1], "a Gryphon, a gryphon and a cat")
    lines = [record.getMessage() for record in caplog.records if "gryphon" in record.getMessage()]
    assert len(lines) == 1 and not any("cat" in record.getMessage() for record in caplog.records)
    assert demo[1].tokenizer.safelight_knows("Cat") and not demo[1].tokenizer.safelight_knows("gryphon")


def test_the_name_of_an_embedding_is_no_word(demo, tmp_path, monkeypatch):
    folder = tmp_path / "of-an-artist"
    folder.mkdir()
    save_file({"emb_params": torch.ones(1, 128)}, folder / "hazy-gryphon.safetensors")
    tokenizer = demo[1].tokenizer.clip_l
    monkeypatch.setattr(tokenizer, "embedding_directory", [str(tmp_path)])
    for name in ("of-an-artist/hazy-gryphon", "of-an-artist/hazy-gryphon.safetensors"):
        ((_, token, *_),) = [chunk[:3] for chunk in demo[1].tokenize(f"embedding:{name}")["l"]]
        assert torch.is_tensor(token[0]) and torch.equal(token[0].flatten(), torch.ones(128))


def test_other_sizes_are_drawn_too(demo):
    model, clip, vae = demo
    latent = host.stock(model, encode(clip, PROMPT), encode(clip, ""), empty(128), **{**SETTINGS, "steps": 4})
    picture = pictures(vae, latent)
    assert picture.shape == (1, 128, 128, 3) and torch.isfinite(picture).all()
