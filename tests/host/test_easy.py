"""Safelight Easy: the stock picture where safety does nothing, the sampler's where it does, and what the two cost."""

from __future__ import annotations

import json

import host
import pytest
import torch
from host import base_nodes, call, count_rows

from safelight.detect.detector import Detector
from safelight.detect.look import Finding, best
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
