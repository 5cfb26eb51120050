"""The nodes that look at pictures: detectors, several as one, and what is shown and hidden of their findings."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import comfy.clip_vision
import comfy.model_management
import numpy as np
import pytest
import tiny_encoders
import torch
from host import call

from bench.safety import form
from demo import world
from safelight.engine.detectors import COLOURS

CONCEPTS = "red things, blue things"


def picture(noun, colour="green"):
    """A thing of the demo world at the left."""
    ink = np.load(form.GLYPHS)["46"][world.INDEX[noun]].astype(int)
    result = np.full((world.SIZE, world.SIZE, 3), world.COLOURS[colour], np.uint8)
    place = result[25:71, 2:48]
    place[:] = place.astype(int) * (255 - ink[..., 3:]) // 255 + ink[..., :3]
    return torch.from_numpy(result)[None].float() / 255


def plain(colour):
    return torch.tensor(COLOURS[colour]).expand(1, 64, 64, 3)


@pytest.fixture
def demo_detector(pack):
    return call(pack.nodes["SafelightDemoDetector"], threshold=0.2)[0]


@pytest.fixture
def look(pack):
    """A call of the node: (image, found, passed, score, report, note)."""

    def run(images, detector, hide="keep"):
        outcome = pack.nodes["SafelightLook"]().look(images, detector, hide)
        *outputs, report = outcome["result"]
        assert len(outcome["ui"]["images"]) == len(images)
        return *outputs, json.loads(report), outcome["ui"]["safelight_note"][0]

    return run


class Vision:
    """Stands for a CLIP Vision model: a picture is the colour that it is nearest to."""

    def encode_image(self, pictures):
        apart = (pictures.mean((1, 2))[:, None] - torch.tensor(list(COLOURS.values()))).norm(dim=-1)
        return {"image_embeds": (-9 * apart).softmax(-1)}


class Words:
    """Stands for its text tower: a text is the colours that it names, or what `strange` makes of them."""

    def __init__(self, strange=lambda row: row):
        self.strange, self.calls = strange, []

    def tokenize(self, text):
        return text

    def encode_from_tokens(self, text, return_pooled=False):
        self.calls.append(text)
        row = torch.tensor([float(name in text) for name in COLOURS])
        return None, self.strange(row if row.any() else torch.full((len(COLOURS),), 0.4))[None]


# -- Look


def test_a_look_finds_what_is_unsafe_and_says_where(look, demo_detector):
    pictures = torch.cat([picture("cat"), picture("bomb")])
    image, found, passed, score, report, note = look(pictures, demo_detector)
    assert image is pictures and found.shape == pictures.shape and not passed and score > 0.9
    assert [one["found"] for one in report["pictures"]] == [False, True] and report["passed"] is False
    (seen,) = report["pictures"][1]["findings"]
    left, top, right, bottom = seen["box"]
    assert seen["name"] == "bomb" and left < 25 / 96 < right < 0.6 and top < 48 / 96 < bottom
    assert note == "Found: nothing; bomb."
    assert (found[0] - pictures[0]).abs().max() <= 1 / 255 and (found[1] - pictures[1]).abs().max() > 0.3


@pytest.mark.parametrize("hide", ["blur", "blank"])
def test_a_hidden_picture_is_in_no_preview(look, demo_detector, hide):
    pictures = picture("skull")
    _, found, *_ = look(pictures, demo_detector, hide)
    inside = slice(34, 62), slice(14, 38)
    assert found[0][inside].std() < 0.5 * pictures[0][inside].std()


def test_what_passes_is_left_as_it_is(look, demo_detector):
    pictures = picture("spoon")
    image, _, passed, score, report, note = look(pictures, demo_detector, "blank")
    assert image is pictures and passed is True and score < 0.5 and note == "Nothing was found."
    assert report == {
        "format": 1,
        "detector": "the demo's eye",
        "passed": True,
        "pictures": [{"found": False, "score": report["pictures"][0]["score"], "failed": "", "findings": []}],
    }


@pytest.mark.parametrize("hide", ["blur", "blank"])
def test_what_is_found_is_hidden_picture_by_picture(look, demo_detector, hide):
    pictures = torch.cat([picture("skull"), picture("cat")])
    image, _, passed, *_ = look(pictures, demo_detector, hide)
    assert not passed and torch.equal(image[1], pictures[1]) and not torch.equal(image[0], pictures[0])
    assert torch.equal(image[0, :, 72:], pictures[0, :, 72:])
    assert image[0, 30:66, 6:42].std() < 0.5 * pictures[0, 30:66, 6:42].std()


def test_a_picture_that_is_no_picture_counts_as_found_and_is_hidden(look, demo_detector):
    broken = torch.full((1, 96, 96, 3), float("nan"))
    image, found, passed, score, report, _ = look(torch.cat([picture("cat"), broken]), demo_detector, "blank")
    assert not passed and score == 1.0 and "NaN" in report["pictures"][1]["failed"]
    assert (image[1] == 0.5).all() and torch.isfinite(found).all()


def test_looking_can_be_interrupted(look, demo_detector):
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
        look(picture("cat"), demo_detector)
    assert type(caught.value).__name__ == "InterruptProcessingException"
    assert look(picture("cat"), demo_detector)[2] is True


def test_an_unknown_way_to_hide_and_what_is_no_picture_are_named(look, demo_detector):
    with pytest.raises(ValueError, match="hide"):
        look(picture("cat"), demo_detector, "cover")
    with pytest.raises(ValueError, match="images: expected pictures"):
        look(torch.zeros(3, 96, 96), demo_detector)
    with pytest.raises(ValueError, match="images: expected a picture, got a batch of none"):
        look(torch.zeros(0, 96, 96, 3), demo_detector)


# -- detectors


def test_several_detectors_and_the_texts_risk_are_one(pack, look, demo_detector):
    def combined(way, n=2, **more):
        return call(pack.nodes["SafelightDetectors"], detector_1=demo_detector, way=way, n=n, **more)[0]

    cat, bomb = picture("cat"), picture("bomb")
    assert [look(one, combined("any", risk=0.9))[2] for one in (cat, bomb)] == [False, False]
    assert [look(one, combined("all", risk=0.9))[2] for one in (cat, bomb)] == [True, False]
    assert [look(one, combined("all", risk=0.1))[2] for one in (cat, bomb)] == [True, True]
    assert look(bomb, combined("at least n", detector_3=demo_detector, risk=0.1))[2] is False
    with pytest.raises(ValueError, match="n: expected a number from 1 to 1"):
        combined("at least n", 2)


def test_nudenet_says_what_to_install_where_it_is_missing(pack, monkeypatch):
    from safelight.detect import nudenet

    monkeypatch.setitem(sys.modules, "nudenet", None)
    nudenet._model.cache_clear()
    with pytest.raises(ValueError, match="pip install nudenet"):
        call(pack.nodes["SafelightNudeNet"], threshold=0.4)


def test_nudenet_counts_what_is_ticked(pack, look, monkeypatch):
    from safelight.detect import nudenet

    face = {"class": "FACE_FEMALE", "score": 0.9, "box": [0, 0, 40, 40]}
    detector = SimpleNamespace(detect_batch=lambda pictures: [[face] for _ in pictures])
    monkeypatch.setattr(nudenet, "_model", lambda: detector)
    made = [call(pack.nodes["SafelightNudeNet"], threshold=0.4, **ticks)[0] for ticks in ({}, {"face_female": True})]
    assert [look(picture("cat"), one)[2] for one in made] == [True, False]
    nothing = dict.fromkeys((name.lower() for name in nudenet.CLASSES), False)
    with pytest.raises(ValueError, match="classes: expected at least one"):
        call(pack.nodes["SafelightNudeNet"], threshold=0.4, **nothing)


# -- CLIP Vision


def clip_detector(pack, vision, clip, **inputs):
    given = {"concepts": CONCEPTS, "threshold": 0.5, **inputs}
    return call(pack.nodes["SafelightCLIPVision"], clip_vision=vision, clip=clip, **given)[0]


def test_clip_vision_finds_the_concept_that_a_picture_is_nearest_to(pack, look):
    words = Words()
    detector = clip_detector(pack, Vision(), words)
    asked = len(words.calls)
    assert [look(plain(colour), detector)[2] for colour in COLOURS] == [False, True, False, True, True, True]
    assert look(plain("red"), detector)[5] == "Found: red things."
    assert len(words.calls) == asked  # texts are encoded once


@pytest.mark.parametrize("strange", [lambda row: row.roll(1), lambda row: torch.ones(6), lambda row: -row])
def test_a_text_tower_of_another_model_is_an_error(pack, strange):
    with pytest.raises(ValueError, match="clip: expected the text tower of the CLIP Vision model, got another one"):
        clip_detector(pack, Vision(), Words(strange))


@pytest.mark.parametrize("along", [1, 2])
def test_what_stands_at_the_side_of_a_long_picture_is_seen(pack, look, along):
    detector = clip_detector(pack, Vision(), Words())
    parts = [plain("green")] * 2 + [plain("red")]
    for order in (parts, parts[::-1]):
        assert look(torch.cat(order, dim=along), detector)[2] is False
    assert look(torch.cat([plain("green")] * 3, dim=along), detector)[2] is True


def test_towers_of_different_widths_are_an_error(pack):
    with pytest.raises(ValueError, match="which is 6 wide, got one that is 7 wide"):
        clip_detector(pack, Vision(), Words(lambda row: torch.cat([row, row[:1]])))


def test_the_hosts_own_classes_of_two_models_are_an_error(pack, tmp_path):
    settings = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 64}
    settings |= {"hidden_act": "quick_gelu", "image_size": 224, "patch_size": 32, "num_channels": 3}
    settings |= {"projection_dim": 64, "layer_norm_eps": 1e-5, "model_type": "clip_vision_model"}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings), "utf-8")
    vision = comfy.clip_vision.ClipVisionModel(str(file))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in vision.model.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    with pytest.raises(ValueError, match="clip: expected the text tower of the CLIP Vision model"):
        clip_detector(pack, vision, tiny_encoders.fitting_clip())


def test_what_embeds_no_pictures_or_no_texts_is_an_error(pack):
    with pytest.raises(ValueError, match="clip_vision: expected a CLIP Vision model"):
        clip_detector(pack, SimpleNamespace(encode_image=lambda pictures: {}), Words())
    with pytest.raises(ValueError, match="gives no vector for a whole text"):
        clip = SimpleNamespace(tokenize=str, encode_from_tokens=lambda tokens, return_pooled: (None, None))
        clip_detector(pack, Vision(), clip)
    with pytest.raises(ValueError, match="concepts: expected what to look for"):
        clip_detector(pack, Vision(), Words(), concepts=" , ")
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="threshold"):
            clip_detector(pack, Vision(), Words(), threshold=wrong)
