"""Safelight Easy: the stock picture where safety does nothing, the sampler's where it does, and what the two cost."""

from __future__ import annotations

import json

import comfy.model_base
import host
import pytest
import tiny_encoders
import tiny_models
import torch
from host import base_nodes, call, count_rows, require

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, best
from safelight.engine import made_for as kinds
from safelight.text.concepts import TEMPLATE_CONCEPTS

PROMPT = "a cat and a knife on a green background"
HARMLESS = "a cat and a tree on a green background"
UNREADABLE = "一只猫和一把刀"
DEMO = {"steps": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras"}


@pytest.fixture(scope="module")
def demo(pack):
    """(MODEL, CLIP, VAE)"""
    return call(pack.nodes["SafelightDemoLoader"])


@pytest.fixture
def easy(pack, demo):
    """A call of the node on the demo model: its outputs, the report read, and its `ui`."""

    def run(prompt=PROMPT, safety=1.0, seed=5, **settings):
        settings = {"concepts": TEMPLATE_CONCEPTS, **DEMO, **settings}
        outcome = pack.nodes["SafelightEasy"]().make(*demo, prompt, safety, seed, **settings)
        image, before, heat, report, passed = outcome["result"]
        return image, before, heat, json.loads(report), passed, outcome["ui"]

    return run


def encode(clip, text):
    return call(base_nodes.CLIPTextEncode, clip=clip, text=text)[0]


def stock(demo, prompt, batch_size=1, seed=5, size=96, cfg=3.0, **settings):
    """The picture of the stock nodes."""
    model, clip, vae = demo
    latent = call(base_nodes.EmptyLatentImage, width=size, height=size, batch_size=batch_size)[0]
    settings = {**DEMO, "seed": seed, "cfg": cfg, **settings}
    samples = host.stock(model, encode(clip, prompt), encode(clip, ""), latent, **settings)
    return call(base_nodes.VAEDecode, vae=vae, samples={"samples": samples})[0]


@pytest.mark.parametrize(("prompt", "safety"), [(PROMPT, 0.0), (HARMLESS, 1.0), (UNREADABLE, 0.0)])
def test_where_nothing_is_steered_it_is_the_stock_picture_at_its_cost(easy, demo, prompt, safety):
    expected = stock(demo, prompt, batch_size=2)
    with count_rows(demo[0]) as seen:
        image, before, heat, report, _, ui = easy(prompt, safety, batch_size=2)
    assert torch.equal(image, expected) and before is image
    assert sum(seen.rows) == report["rows"] == 2 * 2 * DEMO["steps"]
    assert heat.shape == image.shape and heat.max() < 0.5, "a map without a glow"
    assert list(json.loads(ui["safelight_pictures"][0])) == ["after"]


@pytest.mark.parametrize("safety", [0.5, 1.0])
def test_the_plain_picture_beside_it_is_the_stock_one_and_costs_only_the_calls_not_made_yet(
    pack, easy, demo, memory, safety
):
    context = pack.nodes["SafelightContextEncode"]().encode(demo[1], PROMPT, concepts=TEMPLATE_CONCEPTS)["result"]
    latent = call(base_nodes.EmptyLatentImage, width=96, height=96, batch_size=1)[0]
    settings = {**DEMO, "seed": 5, "cfg": 3.0, "denoise": 1.0, "safety": safety, "risk": context[2], "memory": False}
    positive, safe = context[:2]
    guided, _ = pack.reported(demo[0], positive, safe, encode(demo[1], ""), latent, **settings)
    plain = stock(demo, PROMPT)
    with count_rows(demo[0]) as seen:
        image, before, heat, report, _, ui = easy(safety=safety)
    assert torch.equal(image, call(base_nodes.VAEDecode, vae=demo[2], samples={"samples": guided})[0])
    assert torch.equal(before, plain) and not torch.equal(before, image)
    assert heat.max() > 0.8
    shared = sum(call["w"] == 0 for call in report["weights"])
    assert 0 < shared < DEMO["steps"]
    assert report["compare"] == {"rows": 2 * (DEMO["steps"] - shared), "remembered_rows": 2 * shared}
    assert sum(seen.rows) == report["rows"] + report["compare"]["rows"]
    shown = json.loads(ui["safelight_pictures"][0])
    assert list(shown) == ["after", "before", "map"] and ui["images"] == shown["after"]
    assert json.loads(ui["safelight_verdict"][0])["words"] == ["knife"]
    assert json.loads(ui["safelight_report"][0]) == report


def test_without_compare_nothing_more_is_evaluated(easy, demo):
    with count_rows(demo[0]) as seen:
        image, before, _, report, _, ui = easy(compare=False)
    assert before is image and "compare" not in report
    assert sum(seen.rows) == report["rows"]
    assert list(json.loads(ui["safelight_pictures"][0])) == ["after", "map"]


def test_a_prompt_that_cant_be_read_stops_a_guarded_run(easy):
    with pytest.raises(ValueError, match=r"^prompt: .*safe_prompt"):
        easy(UNREADABLE, safety=0.5)


def test_from_an_image_the_text_opens_no_gate_and_denoise_counts(easy, demo):
    image = stock(demo, HARMLESS)
    model, clip, vae = demo
    latent = call(base_nodes.VAEEncode, vae=vae, pixels=image)[0]
    settings = {**DEMO, "seed": 5, "cfg": 3.0, "denoise": 0.5}
    samples = host.stock(model, encode(clip, PROMPT), encode(clip, ""), latent, **settings)
    expected = call(base_nodes.VAEDecode, vae=vae, samples={"samples": samples})[0]
    plain, _, _, report, _, _ = easy(safety=0.0, image=image, denoise=0.5, width=64)
    assert torch.equal(plain, expected) and "pixels" not in report["notes"][0]
    typed = {"safe_prompt": "a dog on a green background", "image": image, "denoise": 0.5}
    _, before, _, report, _, _ = easy(HARMLESS, **typed)
    assert report["risk"] == 1.0 and any(call["w"] for call in report["weights"])


def test_a_detector_finds_the_level_that_is_enough_and_gives_the_words(pack, easy, demo):
    detector = call(pack.nodes["SafelightDemoDetector"], threshold=0.2)[0]
    image, before, _, report, passed, _ = easy(detector=detector, steps=20)
    (picture,) = report["look"]["pictures"]
    assert passed and 0 < picture["safety"] <= 1 and not torch.equal(image, before)
    # Harmless words and a picture that is not.
    _, before, _, report, passed, _ = easy("a pair on a green background", seed=2, detector=detector, steps=20)
    (picture,) = report["look"]["pictures"]
    assert report["risk"] < 0.5 and passed and picture["safe_prompt"].startswith("a pair on a green background with")
    assert torch.equal(before, stock(demo, "a pair on a green background", seed=2, steps=20))


class Suspicious(Detector):
    """Finds something in every picture, whatever it shows."""

    name = "the suspicious one"

    def _look(self, pictures):
        return [best([Finding("a thing", 0.9, (0.25, 0.25, 0.75, 0.75))])] * len(pictures)


def test_what_is_hidden_is_not_shown_plain(easy):
    image, before, _, _, passed, _ = easy(safety=0.2, detector=Suspicious(), hide="blank")
    assert not passed and torch.equal(before, image)
    kept, plain, _, _, _, _ = easy(safety=0.2, detector=Suspicious())
    assert not torch.equal(kept, image) and not torch.equal(kept, plain)


# --- what a model is made for


class Viewer:
    """A VAE of that many pixels to a latent cell, which shows a latent's first three channels."""

    def __init__(self, ratio):
        self.downscale_ratio = ratio

    def decode(self, samples):
        shown = torch.sigmoid(samples[:, :3].movedim(1, -1).float())
        return shown.repeat_interleave(self.downscale_ratio, -2).repeat_interleave(self.downscale_ratio, -3)


def sd1():
    model = tiny_models.unet_model()
    model.model.model_config.unet_config = {**model.model.model_config.unet_config, "context_dim": 768}
    return model


def sdxl():
    return tiny_models.sdxl_model(tiny_encoders.L + tiny_encoders.G, tiny_encoders.G)


MODELS = {
    "SD1.x": (sd1, "fitting", (512, 512), 7.0),
    "SDXL": (
        lambda: tiny_models.sdxl_model(tiny_encoders.L + tiny_encoders.G, tiny_encoders.G),
        "SDXL",
        (1024, 1024),
        7.0,
    ),
    "Flux": (lambda: tiny_models.flux_model(tiny_encoders.T5, tiny_encoders.L), "Flux", (1024, 1024), 1.0),
    "Wan": (tiny_models.video_model, "fitting", (832, 480), 6.0),
}


@pytest.mark.parametrize("family", list(MODELS))
def test_a_model_gets_a_latent_of_its_own_size_and_form(pack, family):
    """And the picture is that of the stock nodes."""
    make, encoder, size, cfg = MODELS[family]
    require(family != "Flux" or not host.IS_INDEX_BUILD, "Flux")
    require(family != "Wan" or hasattr(comfy.model_base, "WAN21"), "Wan")
    model = make()
    clip = tiny_encoders.fitting_clip() if encoder == "fitting" else tiny_encoders.clip(encoder)
    outcome = pack.nodes["SafelightEasy"]().make(model, clip, Viewer(8), PROMPT, 0.0, 3, steps=1)
    image, report = outcome["result"][0], json.loads(outcome["result"][3])
    assert image.shape == (1, size[1], size[0], 3)
    note = report["notes"][0]
    assert note.startswith(f"{size[0]} x {size[1]} pixels, cfg {cfg:g}: ")
    assert family in note
    latent = call(base_nodes.EmptyLatentImage, width=size[0], height=size[1], batch_size=1)[0]
    settings = {"seed": 3, "steps": 1, "cfg": cfg, "sampler_name": "euler", "scheduler": "simple"}
    samples = host.stock(model, encode(clip, PROMPT), encode(clip, ""), latent, **settings)
    assert torch.equal(image, Viewer(8).decode(samples).reshape(image.shape))


def test_a_size_and_a_cfg_of_the_artists_own_count(pack):
    model, clip = tiny_models.unet_model(), tiny_encoders.fitting_clip()
    given = {"width": 64, "height": 32, "cfg": 2.0, "steps": 1, "batch_size": 2}
    outcome = pack.nodes["SafelightEasy"]().make(model, clip, Viewer(16), PROMPT, 0.0, 3, **given)
    assert outcome["result"][0].shape == (2, 32, 64, 3)
    assert json.loads(outcome["result"][3])["notes"] == ["safety is 0: the stock sampler ran."]
    outcome = pack.nodes["SafelightEasy"]().make(model, clip, Viewer(16), PROMPT, 0.0, 3, **{**given, "cfg": 0.0})
    assert json.loads(outcome["result"][3])["notes"][0].startswith("cfg 7: a guess")
    with pytest.raises(ValueError, match=r"^height: expected 0 or at least 16"):
        pack.nodes["SafelightEasy"]().make(model, clip, Viewer(16), PROMPT, 0.0, 3, **{**given, "height": 8})


def of_class(name, **network):
    """Stands for a MODEL of this class of the host's."""
    base = getattr(comfy.model_base, name, None)
    require(base is not None, name)
    model = base.__new__(base)
    torch.nn.Module.__init__(model)
    model.model_config = type("Config", (), {"unet_config": network})()
    model.model_type = comfy.model_base.ModelType[network.get("type", "EPS")]
    return type("Patcher", (), {"model": model})()


@pytest.mark.parametrize(
    ("model", "network", "expected"),
    [
        ("BaseModel", {"context_dim": 768}, kinds.SD1),
        ("BaseModel", {"context_dim": 1024}, kinds.SD2),
        ("BaseModel", {"context_dim": 1024, "type": "V_PREDICTION"}, kinds.SD2_LARGE),
        ("SDXL_instructpix2pix", {"context_dim": 2048}, kinds.FAMILIES["SDXL"]),
        ("SD3", {}, kinds.FAMILIES["SD3"]),
        ("StableCascade_C", {}, kinds.UNKNOWN),
        ("Chroma", {}, kinds.FAMILIES["Chroma"]),
        ("QwenImage", {}, kinds.FAMILIES["QwenImage"]),
        ("Lumina2", {"dim": 2304}, kinds.FAMILIES["Lumina2"]),
        ("Lumina2", {"dim": 3840}, kinds.Z_IMAGE),
        ("WAN22", {}, kinds.FAMILIES["WAN22"]),
        ("Flux2", {}, kinds.FAMILIES["Flux2"]),
    ],
)
def test_a_family_is_told_by_the_hosts_class(model, network, expected):
    assert kinds.made_for(of_class(model, **network)) == expected
