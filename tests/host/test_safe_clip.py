"""SafelightSafeCLIP in the host: unsafe captions move, the encoder stays as it is, and its file is a redaction's."""

from __future__ import annotations

import uuid

import host
import pytest
import tiny_encoders
import torch

from safelight.engine import edit_files, safe_clip

KEEP = "\n".join(f"a {thing} on a table" for thing in ("cat", "dog", "car", "tree", "boat", "lamp", "bird", "cup"))
INPUTS = {"concepts": "spiders", "keep": KEEP, "steps": 20}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few captions: what is tested does not go by their number."""
    monkeypatch.setattr("safelight.text.caption_pairs.MOST", 24)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(edit_files.folder_paths, "get_output_directory", lambda: str(tmp_path))


def safe(pack, clip, **inputs):
    return host.call(pack.nodes["SafelightSafeCLIP"], clip=clip, **{**INPUTS, **inputs})


def encode(clip, text="a cat and a spider"):
    entry = host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0][0]
    return entry[0], entry[1].get("pooled_output")


def same(one, other):
    return all(a is b is None or torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("target", safe_clip.TARGETS)
def test_unsafe_captions_go_to_safe_ones_and_others_stay(pack, target, monkeypatch):
    """On the demo model, whose encoder knows what its words mean."""
    monkeypatch.setattr("safelight.text.caption_pairs.MOST", 60)
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    done, edit, picture = safe(pack, clip, concepts="a drug", keep="", target=target, steps=120)

    def apart(one, text, other):
        return float((encode(one, text)[0] - encode(clip, other)[0]).norm())

    before = apart(clip, "a turtle and a pill", "a turtle and a candy")
    if target == safe_clip.OWN:
        assert apart(done, "a turtle and a pill", "a turtle and a candy") < 0.6 * before
    assert apart(done, "a turtle and a pill", "a turtle and a pill") > 0.5 * before
    for text in ("a turtle and a boat", "a spoon on a green background"):
        assert apart(done, text, text) < 0.35 * before
    assert edit.settings["target"] == target and edit.settings["pairs"] > 20
    assert picture.shape[0] == 1 and 0.0 <= picture.min() < picture.max() <= 1.0


@pytest.mark.parametrize("form", ["SD1", "SDXL", "masked T5"])
def test_the_encoder_itself_is_only_read(pack, form):
    clip = tiny_encoders.clip(form)
    weights = {name: tensor.clone() for name, tensor in clip.cond_stage_model.state_dict().items()}
    plain = encode(clip)
    done = safe(pack, clip)[0]
    assert not same(encode(done), plain) and same(encode(clip), plain)
    after = clip.cond_stage_model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights.items())


def test_strength_zero_is_the_very_object(pack):
    clip = tiny_encoders.clip("SD1")
    assert safe(pack, clip, strength=0.0)[0] is clip


def test_the_same_seed_gives_the_same_encoder_and_another_another(pack):
    clip = tiny_encoders.clip("SD1")
    first, again, other = (safe(pack, clip, seed=seed)[1].tensors for seed in (5, 5, 6))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_load_redaction_gives_the_same_bits_from_its_file(pack, files):
    clip = tiny_encoders.clip("SD1")
    done, edit, _ = safe(pack, clip)
    prefix = f"safe_{uuid.uuid4().hex}"
    name = host.call(pack.nodes["SafelightSaveEdit"], edit=edit, filename_prefix=prefix)[0]
    load = pack.nodes["SafelightLoadRedaction"]
    assert name in load.INPUT_TYPES()["required"]["file"][0]
    assert same(encode(host.call(load, clip=clip, file=name)[0]), encode(done))
    assert edit.kind == "redaction" and edit.settings["method"] == "Safe-CLIP"


def test_the_nearest_safe_caption_is_at_least_as_near_as_the_twin(pack):
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    unsafe, twins = ["a pill and a cat", "a syringe"], ["a candy and a cat", "a pen"]
    safe_texts = [*twins, "a glass of milk", "a house", "a dog and a boat"]
    encoded = safe_clip.encode_texts(clip, [*unsafe, *safe_texts], lambda: None)[1]
    chosen = safe_clip.nearest_pairs(encoded, unsafe, safe_texts)
    assert [text for text, _ in chosen] == unsafe and {text for _, text in chosen} <= set(safe_texts)
    assert chosen[0][1] == twins[0]  # it shares the cat


def test_training_that_helps_nothing_is_an_error_and_no_encoder_that_is_as_it_was(pack, monkeypatch):
    monkeypatch.setattr("safelight.edits.redaction_network.LEARNING_RATE", 0.0)
    with pytest.raises(ValueError, match="^steps: .*got none in 20 steps"):
        safe(pack, tiny_encoders.clip("SD1"))


@pytest.mark.parametrize("form", tiny_encoders.UNKNOWN_ROWS)
def test_an_encoder_whose_rows_are_not_single_words_is_refused(pack, form):
    with pytest.raises(ValueError, match="^clip: expected .* single words .*for Safe-CLIP, got one that "):
        safe(pack, tiny_encoders.clip(form))


def test_a_stopped_run_stops_before_the_encoder_is_called(pack, monkeypatch):
    class Stopped(Exception):
        pass

    def stop():
        raise Stopped

    clip = tiny_encoders.clip("SD1")
    host.call(pack.nodes["SafelightSafeCLIP"], clip=clip, **INPUTS)  # the probe of its rows is made
    monkeypatch.setattr("comfy.model_management.throw_exception_if_processing_interrupted", stop)
    with pytest.raises(Stopped):
        safe(pack, clip)


@pytest.mark.parametrize(
    "inputs, named",
    [
        ({"concepts": " , \n"}, "concepts"),
        ({"concepts": "\u30ca\u30a4\u30d5"}, "concepts"),
        ({"target": "the farthest"}, "target"),
        ({"keep": 5}, "keep"),
        ({"strength": -1.0}, "strength"),
        ({"steps": "many"}, "steps"),
    ],
)
def test_what_cannot_be_trained_is_an_error_that_names_the_input(pack, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        safe(pack, tiny_encoders.clip("SD1"), **inputs)


def test_concepts_that_the_encoder_does_not_know_are_named(pack):
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    with pytest.raises(ValueError, match="^concepts: .*knows, got spiders"):
        safe(pack, clip, keep="")
    with pytest.raises(ValueError, match="^clip:"):
        safe(pack, None)
