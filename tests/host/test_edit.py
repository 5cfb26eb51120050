"""Erasing concepts: what it changes, what it leaves alone, and the file it is kept in."""

from __future__ import annotations

import dataclasses

import host
import pytest
import tiny_encoders
import tiny_models
import torch
from host import call, require, stock
from tiny_models import latent

from safelight.edits import uce
from safelight.engine import edit_files, edit_targets, erase
from safelight.engine import host as safelight_host
from safelight.engine.edit_texts import Texts

TEXTS = {"erase": "a red knife, blood", "preserve": "a cat on a table\nsunflowers"}
SHORT = {"steps": 3}


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.fitting_clip()


@pytest.fixture
def files(tmp_path, monkeypatch):
    files = edit_files
    monkeypatch.setattr(files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(files, "FOLDER", tmp_path.name)  # the host remembers a name's folders and files
    return files


def erased(pack, model, clip, **inputs):
    return call(pack.nodes["SafelightErase"], model=model, clip=clip, **{**TEXTS, **inputs})


def load(pack, model, file, **inputs):
    return call(pack.nodes["SafelightLoadErase"], model=model, file=file, **inputs)[0]


def save(pack, edit):
    return call(pack.nodes["SafelightSaveEdit"], edit=edit)[0]


def encode(clip, text):
    return call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0]


def drawn(model, clip, text="a red knife", **settings):
    channels = model.model.latent_format.latent_channels
    return stock(model, encode(clip, text), encode(clip, ""), latent(channels), **{**SHORT, **settings})


def weights(model, pack):
    """The model's weights that read texts as a run would have them."""
    keys = [key for found in edit_targets.targets_of(model).keys.values() for key in found]
    return dict(safelight_host.patched_weights(model, keys))


def with_patch(model, size=0.5):
    """As a LoRA leaves it: a difference on every weight that reads texts, and on another one."""
    state = model.model.state_dict()
    keys = [key for key in state if key.endswith((".attn2.to_k.weight", ".attn2.to_v.weight", "out.2.weight"))]
    generator = torch.Generator().manual_seed(4)
    clone = model.clone()
    clone.add_patches({k: (torch.randn(state[k].shape, generator=generator) * 0.1,) for k in keys}, size)
    return clone


# --- off, and everything that stays as it is


def test_strength_zero_is_the_very_model(pack, eps, clip, files):
    model, edit = erased(pack, eps, clip, strength=0.0)
    assert model is eps
    name = save(pack, edit)
    assert load(pack, eps, name, strength=0.0) is eps
    assert load(pack, eps, name, strength=1.0) is not eps


def test_the_model_that_came_in_stays_as_it_is(pack, eps, clip):
    before, uuid = drawn(eps, clip), eps.patches_uuid
    state = {key: tensor.clone() for key, tensor in eps.model.state_dict().items()}
    model, _ = erased(pack, eps, clip, tokens="all")
    after = drawn(model, clip)
    assert not torch.allclose(after, before, atol=1e-3)
    assert eps.patches == {} and eps.patches_uuid == uuid
    assert torch.equal(drawn(eps, clip), before)
    assert all(torch.equal(tensor, state[key]) for key, tensor in eps.model.state_dict().items())
    assert set(model.patches) == set(weights(eps, pack))


def test_an_erased_word_reads_as_the_other_and_a_preserved_text_as_before(pack, eps, clip):
    """In every matrix that reads texts; half the strength is half the way. The weight says which of the two counts."""
    inputs = {"erase": "blood", "instead": "water", "preserve": "a cat on a table", "lamb": 1e-5}
    whole, half, careful = (
        weights(erased(pack, eps, clip, strength=strength, preserve_weight=weight, **inputs)[0], pack)
        for strength, weight in ((1.0, 0.0), (0.5, 0.0), (1.0, 1e4))
    )
    blood, water, cat = (encode(clip, text)[0][0][0] for text in ("blood", "water", "a cat on a table"))
    for key, old in weights(eps, pack).items():
        gave, other, now = blood[1] @ old.T, water[1] @ old.T, blood[1] @ whole[key].T
        assert (now - other).norm() < 0.02 * (gave - other).norm(), key
        assert torch.allclose(half[key], (old + whole[key]) / 2, atol=1e-5), key
        assert (cat @ (careful[key] - old).T).norm() < 0.02 * (cat @ old.T).norm(), key
        assert (cat @ (whole[key] - old).T).norm() > 0.02 * (cat @ old.T).norm(), key


def test_rounds_change_more_than_the_last_word(pack, eps, clip):
    edits = [
        erased(pack, eps, clip, **inputs)[1]
        for inputs in ({}, {"tokens": "all"}, {"epochs": 2}, {"preserve_weight": 5.0}, {"instead": "a tree"})
    ]
    maps = [erase._maps(edit.tensors)["text"].factors() for edit in edits]
    whole = [up @ down for up, down in maps]
    for i, one in enumerate(whole):
        for other in whole[i + 1 :]:
            assert not torch.allclose(one, other, atol=1e-4)
    assert [edit.settings["method"] for edit in edits] == ["UCE", "UCE", "RECE", "UCE", "UCE"]


# --- the weights

# More than six rows of six numbers, so that not everything asked for can be had at once.
ERASED, GUIDES, PRESERVED = (
    torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) for seed, count in enumerate((2, 2, 8))
)


def solved(erased=ERASED, guides=GUIDES, preserved=PRESERVED, weight=0.5, lamb=0.1, epochs=0):
    """The map of states, [6, 6]."""
    texts = Texts(erased.double(), guides.double(), uce.gram(preserved), len(preserved))
    up, down = erase._solve(None, texts, [], epochs, weight, lamb, lambda: None).factors()
    return up.double() @ down.double()


def test_the_weight_of_what_is_preserved_is_that_of_all_of_it_together():
    """A list of more texts weighs as much; twice the weight does not."""
    assert torch.allclose(solved(preserved=PRESERVED.repeat(3, 1)), solved())
    assert not torch.allclose(solved(weight=1.0), solved(), atol=1e-3)
    assert not torch.allclose(solved(preserved=2 * PRESERVED), solved(), atol=1e-3)


def test_more_erased_texts_ask_for_no_other_weight():
    """The same ones twice over; with next to no lamb, which holds everything else, nothing else weighs on them."""
    twice = solved(ERASED.repeat(2, 1), GUIDES.repeat(2, 1), lamb=1e-9)
    assert torch.allclose(twice, solved(lamb=1e-9), atol=1e-6)


def test_an_encoder_of_larger_states_needs_no_other_weights():
    assert torch.allclose(solved(30 * ERASED, 30 * GUIDES, 30 * PRESERVED), solved())
    uneven = torch.tensor([[10.0], [1.0]])
    mean = (uneven * ERASED).square().sum(dim=1).mean()
    given = uce.closed_form(uneven * ERASED, GUIDES, 0 * uce.gram(PRESERVED), 0.1 * float(mean))
    assert torch.allclose(solved(uneven * ERASED, weight=0.0), given.up @ given.down)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_rounds_weigh_as_the_first_edit_does_whatever_the_size_of_the_models_weights(monkeypatch, size):
    readers = [torch.randn(5, 6, generator=torch.Generator().manual_seed(seed)).double() for seed in (7, 8)]
    monkeypatch.setattr(safelight_host, "patched_weights", lambda model, keys: [("", w) for w in readers])
    expected = solved(epochs=2)
    monkeypatch.setattr(safelight_host, "patched_weights", lambda model, keys: [("", size * w) for w in readers])
    assert torch.allclose(solved(preserved=PRESERVED.repeat(3, 1), epochs=2), expected)
    assert not torch.allclose(expected, solved(), atol=1e-3)


# --- what patches the model already


def test_a_lora_is_edited_with_the_model(pack, eps, clip):
    """What is erased goes from the model as it would have drawn, LoRA and all."""
    patched = with_patch(eps)
    inputs = {"erase": "blood", "instead": "water", "preserve_weight": 0.0, "lamb": 1e-5}
    model, _ = erased(pack, patched, clip, **inputs)
    blood, water = (encode(clip, text)[0][0][0][1] for text in ("blood", "water"))
    now, before, plain = weights(model, pack), weights(patched, pack), weights(eps, pack)
    for key in before:
        assert not torch.allclose(before[key], plain[key], atol=1e-2)
        gave, other = blood @ before[key].T, water @ before[key].T
        assert (blood @ now[key].T - other).norm() < 0.05 * (gave - other).norm(), key
    assert not torch.equal(drawn(model, clip), drawn(patched, clip))
    assert set(model.patches) == set(patched.patches)


# --- files


@pytest.mark.parametrize("inputs", [{}, {"tokens": "all", "epochs": 1}], ids=["factors", "whole"])
def test_a_loaded_edit_draws_the_same_bits(pack, eps, clip, files, inputs):
    model, edit = erased(pack, eps, clip, strength=0.8, **inputs)
    assert ("text.map" in edit.tensors) == bool(inputs)
    name = save(pack, edit)
    loaded = load(pack, eps, name, strength=0.8)
    assert torch.equal(drawn(loaded, clip), drawn(model, clip))
    assert not torch.equal(drawn(loaded, clip), drawn(eps, clip))
    assert edit_files.load(name, "erase").settings == edit.settings
    assert edit.settings["erase"] == ["a red knife", "blood"]


def test_an_edit_fits_another_model_of_its_kind_only(pack, eps, clip, files):
    name = save(pack, erased(pack, eps, clip)[1])
    assert load(pack, tiny_models.unet_model("V_PREDICTION"), name) is not None
    with pytest.raises(ValueError, match=rf"^file: .*a SD3 model for .*, got {name} for a UNet model for .* 32 wide"):
        load(pack, tiny_models.sd3_model(), name)
    with pytest.raises(
        ValueError, match=rf"^file: .*a UNet model for texts 64 wide, got {name} for a UNet model for texts 32 wide"
    ):
        load(pack, tiny_models.sdxl_model(64, 40), name)


def test_a_file_of_another_kind_is_an_error(pack, eps, clip, files):
    node = pack.nodes["SafelightLoadErase"]
    edit = erased(pack, eps, clip)[1]
    name = save(pack, dataclasses.replace(edit, kind="adapter"))
    assert name not in node.INPUT_TYPES()["required"]["file"][0]
    assert "'adapter'" in node.VALIDATE_INPUTS(file=name) and "'erase'" in node.VALIDATE_INPUTS(file=name)
    with pytest.raises(ValueError, match=rf"^file: .*'erase'.*'adapter' in {name}"):
        load(pack, eps, name)
    strange = save(pack, type(edit)("erase", {"weights": torch.zeros(3, 3)}, {"family": "UNet"}))
    with pytest.raises(ValueError, match=rf"^file: expected an edit that erases, got {strange} with .* weights"):
        load(pack, eps, strange)


# --- other families


@pytest.mark.parametrize("kind", ["SD3", "Flux"])
def test_models_without_cross_attention_are_edited_where_they_embed_texts(pack, clip, files, kind):
    require(hasattr(tiny_models.comfy.model_base, kind), kind)
    model = {"SD3": tiny_models.sd3_model, "Flux": tiny_models.flux_model}[kind]()
    before = drawn(model, clip)
    edited, edit = erased(pack, model, clip, instead="a tree")
    ends = {
        "SD3": ("context_embedder.weight", "y_embedder.mlp.0.weight"),
        "Flux": ("txt_in.weight", "vector_in.in_layer.weight"),
    }[kind]
    assert sorted(edited.patches) == sorted(f"diffusion_model.{end}" for end in ends)
    assert {name.split(".")[0] for name in edit.tensors} == {"text", "pooled"}
    assert not torch.allclose(drawn(edited, clip), before, atol=1e-4)
    assert torch.equal(drawn(load(pack, model, save(pack, edit)), clip), drawn(edited, clip))
    assert torch.equal(drawn(model, clip), before)


def test_encoders_side_by_side_are_edited_as_one(pack):
    """SDXL: the states of L and G are one row."""
    clip = tiny_encoders.clip("SDXL")
    wide = tiny_encoders.L + tiny_encoders.G
    model = tiny_models.sdxl_model(wide, tiny_encoders.G)
    edited, edit = erased(pack, model, clip)
    assert edit.tensors["text.up"].shape == (wide, 2) and set(edit.tensors) == {"text.up", "text.down"}
    assert not torch.equal(drawn(edited, clip), drawn(model, clip))


def test_other_kinds_of_models_are_an_error_that_names_them(pack, clip):
    require(hasattr(tiny_models.comfy.model_base, "WAN21"), "model with 5-D latents")
    with pytest.raises(ValueError, match="^model: expected .*SDXL.*Flux.*SD3.*, got a WAN21"):
        erased(pack, tiny_models.video_model(), clip)


# --- what can't be done is said


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"erase": " , \n"}, "^erase: expected concepts, got an empty"),
        ({"strength": float("nan")}, "^strength: "),
        ({"strength": -1.0}, "^strength: "),
        ({"tokens": "some"}, "^tokens: .*, got 'some'"),
        ({"lamb": 0.0}, "^lamb: "),
        ({"preserve_weight": -1.0}, "^preserve_weight: "),
        ({"erase": "a cat", "preserve": "a cat and a dog"}, "^preserve: expected texts that leave something to erase"),
        ({"clip": None}, "^clip: expected a text encoder, got none"),
    ],
)
def test_inputs_that_say_nothing_are_errors(pack, eps, clip, inputs, said):
    with pytest.raises(ValueError, match=said):
        call(pack.nodes["SafelightErase"], **{"model": eps, "clip": clip, **TEXTS, **inputs})


def test_another_text_encoder_is_an_error(pack, eps):
    with pytest.raises(ValueError, match="^clip: .*UNet model for texts 32 wide, got one with texts 24 wide"):
        erased(pack, eps, tiny_encoders.clip("SD1"))


def test_weights_that_hold_no_numbers_are_an_error(pack, clip):
    model = tiny_models.unet_model()
    next(p for n, p in model.model.named_parameters() if n.endswith("attn2.to_k.weight"))[0, 0] = float("nan")
    with pytest.raises(ValueError, match="^model: expected a weight .*attn2.to_k.weight of finite numbers"):
        erased(pack, model, clip)


def test_it_can_be_interrupted(pack, eps, clip):
    management = erase.comfy.model_management
    management.interrupt_current_processing(True)
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
            erased(pack, eps, clip)
    finally:
        management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException"
    assert eps.patches == {}


def test_harmless_phrases_stand_in_for_an_empty_list(pack, eps, clip, monkeypatch):
    seen = []
    monkeypatch.setattr(erase, "everyday", lambda concepts: seen.append(concepts) or ["a cat", "a dog"])
    _, alone = erased(pack, eps, clip, preserve=" ")
    _, named = erased(pack, eps, clip, preserve="a cat\na dog")
    assert seen == [["a red knife", "blood"]]
    assert all(torch.equal(tensor, named.tensors[name]) for name, tensor in alone.tensors.items())
