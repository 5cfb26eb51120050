"""SafelightRedact and SafelightLoadRedaction on the host's own text encoders."""

from __future__ import annotations

import gc
import json
import uuid

import comfy.model_management
import host
import pytest
import tiny_encoders
import torch
from safetensors import safe_open

from safelight.edits import edit_file
from safelight.engine import concept_spaces, edit_files, redact, redacted_clip

KEEP = "\n".join(
    [
        "a cat",
        "a dog on a table",
        "a red car",
        "a tree and a house",
        "an apple on a plate",
        "a boat",
        "a lamp and a book",
        "a bird on a chair",
        "a garden",
        "a cup of tea",
    ]
)
INPUTS = {"redact": "a knife\na gun", "reference": "a flower", "keep": KEEP, "form": "ridge", "steps": 20}
PROMPT = "a cat and a knife on a green table"
LONG = "a cat " * 40 + "and a knife"


@pytest.fixture(scope="module")
def clip():
    return tiny_encoders.clip("SD1")


@pytest.fixture(scope="module")
def made(pack, clip):
    """(redacted CLIP, edit, picture) of the plain SD1 encoder."""
    return redacted(pack, clip)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The pack's module of edit files, with an output folder of its own."""
    files = edit_files
    monkeypatch.setattr(files.folder_paths, "get_output_directory", lambda: str(tmp_path))
    return files


def redacted(pack, clip, **inputs):
    return host.call(pack.nodes["SafelightRedact"], clip=clip, **{**INPUTS, **inputs})


def encode(clip, text=PROMPT):
    """What the artist's own CLIP Text Encode gives: (states, everything beside them)."""
    return host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0][0]


def same(one, other):
    pooled = [each[1].get("pooled_output") for each in (one, other)]
    return torch.equal(one[0], other[0]) and (
        pooled[0] is pooled[1] if None in pooled else torch.equal(pooled[0], pooled[1])
    )


def save(pack, edit):
    """The file's name: one of its own, since the host goes on searching the folders of earlier tests."""
    prefix = f"redaction_{uuid.uuid4().hex}"
    return host.call(pack.nodes["SafelightSaveEdit"], edit=edit, filename_prefix=prefix)[0]


def load(pack, clip, file, **inputs):
    return host.call(pack.nodes["SafelightLoadRedaction"], clip=clip, file=file, **inputs)[0]


@pytest.mark.parametrize("form", tiny_encoders.KNOWN_ROWS)
def test_every_kind_of_encoder_is_redacted_and_its_outcome_keeps_its_form(pack, form):
    clip = tiny_encoders.clip(form)
    before = [encode(clip, text) for text in (PROMPT, LONG)]
    done = redacted(pack, clip)[0]
    for text, stock in zip((PROMPT, LONG), before, strict=True):
        states, extra = encode(done, text)
        assert states.shape == stock[0].shape and states.dtype == stock[0].dtype and set(extra) == set(stock[1])
        assert not torch.equal(states, stock[0]) and torch.isfinite(states).all()
        pooled = stock[1].get("pooled_output")
        assert pooled is None or not torch.equal(extra["pooled_output"], pooled)
        for key in set(stock[1]) - {"pooled_output"}:
            assert stock[1][key] is extra[key] or torch.equal(stock[1][key], extra[key])
        assert same(encode(clip, text), stock)  # the plain one gets its own again


@pytest.mark.parametrize("form", tiny_encoders.UNKNOWN_ROWS)
def test_an_encoder_whose_rows_are_not_single_words_is_refused(pack, form):
    with pytest.raises(ValueError, match="^clip: expected .* single words .*for a redaction, got one that "):
        redacted(pack, tiny_encoders.clip(form))


@pytest.mark.parametrize("form", ["ridge", "network"])
def test_redacted_texts_go_to_their_reference_and_others_stay(pack, form):
    """On the demo model, whose encoder knows what its words mean."""
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    done, edit, picture = redacted(pack, clip, redact="a weapon", reference="a toy", keep="", form=form, steps=120)

    def apart(one, text, other):
        return float((encode(one, text)[0] - encode(clip, other)[0]).norm())

    before = apart(clip, "a turtle and a weapon", "a turtle and a toy")
    assert apart(done, "a turtle and a weapon", "a turtle and a toy") < 0.6 * before
    for text in ("a turtle and a boat", "a spoon on a green background"):
        assert apart(done, text, text) < 0.3 * before
    assert edit.kind == "redaction" and edit.settings["form"] == form
    assert picture.shape[0] == 1 and picture.shape[-1] == 3 and 0.0 <= picture.min() < picture.max() <= 1.0


def test_strength_zero_is_the_very_object(pack, clip, files, made):
    assert redacted(pack, clip, strength=0.0)[0] is clip
    name = save(pack, made[1])
    assert load(pack, clip, name, strength=0.0) is clip
    half, whole, plain = (encode(each)[0] for each in (load(pack, clip, name, strength=0.5), made[0], clip))
    assert torch.allclose(half, (whole + plain) / 2, atol=1e-5)


def test_branches_stay_apart_when_they_are_used_in_turns(clip, made):
    plain, done = encode(clip), encode(made[0])
    for _ in range(2):
        assert same(encode(made[0]), done) and same(encode(clip), plain)
        assert same(encode(made[0].clone()), done) and same(encode(clip.clone()), plain)
    comfy.model_management.unload_all_models()
    assert same(encode(clip), plain)


def test_the_plain_encoder_is_itself_after_a_redacted_one_is_gone(pack):
    clip = tiny_encoders.clip("SD1")
    plain = encode(clip)
    done = redacted(pack, clip)[0]
    assert not same(encode(done), plain)
    del done
    gc.collect()
    assert same(encode(clip), plain)


def lora_on(clip, seed=1):
    name = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2.weight"
    shape = clip.cond_stage_model.state_dict()[name].shape
    other = clip.clone()
    difference = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    assert other.add_patches({name: (difference,)}, 1.0, 1.0)
    return other


def test_a_lora_and_a_clip_skip_after_it_keep_the_redaction(clip, made):
    plain, done = encode(clip), encode(made[0])
    lora = encode(lora_on(made[0]))
    assert not same(lora, done) and not same(lora, encode(lora_on(clip)))
    skipped = host.call(host.base_nodes.CLIPSetLastLayer, clip=made[0], stop_at_clip_layer=-2)[0]
    bare = host.call(host.base_nodes.CLIPSetLastLayer, clip=clip, stop_at_clip_layer=-2)[0]
    assert not same(encode(skipped), encode(bare)) and not same(encode(skipped), done)
    assert same(encode(made[0]), done) and same(encode(clip), plain)


def test_two_redactions_in_a_row_compose(pack, clip, files, made):
    name = save(pack, made[1])
    other = redacted(pack, clip, redact="a boat", reference="a piano")
    second = save(pack, other[1])
    both = load(pack, load(pack, clip, name), second)
    moved = encode(made[0])
    # The second map sees what the first one made.
    stand_in = redacted_clip
    layout, maps = redact.maps_of(other[1], "")
    tokens = {
        name: [[(t, w) for t, w, *_ in chunk] for chunk in chunks] for name, chunks in clip.tokenize(PROMPT).items()
    }
    second_alone = stand_in.RedactedEncode(
        lambda _: (moved[0], moved[1]["pooled_output"]), clip.cond_stage_model, layout, maps, 1.0
    )
    states, pooled = second_alone(tokens)
    found = encode(both)
    assert torch.equal(found[0], states) and torch.equal(found[1]["pooled_output"], pooled)
    assert not torch.equal(found[0], moved[0])


@pytest.mark.parametrize("form", ["ridge", "network"])
def test_a_saved_redaction_gives_the_same_bits(pack, clip, files, tmp_path, form):
    done, edit, _ = redacted(pack, clip, form=form)
    name = save(pack, edit)
    assert name in pack.nodes["SafelightLoadRedaction"].INPUT_TYPES()["required"]["file"][0]
    for text in (PROMPT, LONG, "a (cat:1.3) and a (knife:1.4)"):
        assert same(encode(load(pack, clip, name), text), encode(done, text))
    with safe_open(str(tmp_path / "safelight" / name), framework="pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert settings["redact"] == INPUTS["redact"] and settings["reference"] == INPUTS["reference"]


def test_the_same_seed_gives_the_same_redaction(pack, clip):
    first, again, other = (redacted(pack, clip, form="network", seed=seed)[1].tensors for seed in (5, 5, 6))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_a_file_for_another_encoder_or_of_another_kind_is_an_error_that_names_both(pack, clip, files, made):
    name = save(pack, made[1])
    for form, width in (("SDXL", tiny_encoders.G), ("Flux", tiny_encoders.T5)):
        with pytest.raises(ValueError, match=f"(?s)^file: .*{width} wide.*, got {name}.*{tiny_encoders.L} wide"):
            load(pack, tiny_encoders.clip(form), name)
    other = edit_file.Edit("erase", {"x": torch.zeros(2)}, {})
    wrong = save(pack, other)
    check = pack.nodes["SafelightLoadRedaction"].VALIDATE_INPUTS
    assert check(file=name) is True
    assert "'erase'" in check(file=wrong) and "'redaction'" in check(file=wrong)
    with pytest.raises(ValueError, match="'redaction'.*'erase'"):
        load(pack, clip, wrong)
    part = {key: tensor for key, tensor in made[1].tensors.items() if not key.startswith("pooled")}
    broken = save(pack, edit_file.Edit("redaction", part, made[1].settings))
    with pytest.raises(ValueError, match=f"^file: expected a whole redaction, got {broken}"):
        load(pack, clip, broken)


@pytest.mark.parametrize(
    "inputs, named",
    [
        ({"redact": " \n"}, "redact"),
        ({"reference": "a flower\na boat\na cat"}, "reference"),
        ({"redact": "a knife", "reference": "a knife"}, "reference"),
        ({"form": "linear"}, "form"),
        ({"strength": -1.0}, "strength"),
        ({"keep": "a cat", "redact": "a knife", "form": "network"}, "redact, keep"),
    ],
)
def test_what_cannot_be_redacted_is_an_error_that_names_the_input(pack, clip, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        redacted(pack, clip, **inputs)


def test_training_that_helps_nothing_is_an_error_and_no_encoder_that_is_as_it_was(pack, clip, monkeypatch):
    monkeypatch.setattr("safelight.edits.redaction_network.LEARNING_RATE", 0.0)
    with pytest.raises(ValueError, match="^steps: .*got none in 20 steps"):
        redacted(pack, clip, form="network")


def test_a_missing_and_a_broken_encoder_are_errors(pack):
    with pytest.raises(ValueError, match="^clip:"):
        redacted(pack, None)
    broken = tiny_encoders.clip("SD1")
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="^clip: expected finite states"):
        redacted(pack, broken)


def test_two_texts_of_sdxl_are_redacted_each_in_its_own_encoder(pack):
    """Its encode node takes one text for CLIP-L and one for CLIP-G."""
    clip = tiny_encoders.clip("SDXL")
    done = redacted(pack, clip)[0]
    node = host.extra_node("nodes_clip_sdxl", "CLIPTextEncodeSDXL")
    sizes = {"width": 64, "height": 64, "crop_w": 0, "crop_h": 0, "target_width": 64, "target_height": 64}

    def run(clip, text_l, text_g):
        return host.call(node, clip=clip, text_l=text_l, text_g=text_g, **sizes)[0][0]

    def change(text_l, text_g):
        return run(done, text_l, text_g)[0] - run(clip, text_l, text_g)[0]

    # The knife stands where CLIP-L has padding: either encoder's states change as if both had its text.
    both = change("a cat", PROMPT)
    for text, columns in (("a cat", slice(tiny_encoders.L)), (PROMPT, slice(tiny_encoders.L, None))):
        assert torch.allclose(both[..., columns], change(text, text)[..., columns], atol=1e-5)
        assert both[..., columns].abs().max() > 1e-3


def test_fluxs_encode_node_is_redacted_too(pack):
    node = host.extra_node("nodes_flux", "CLIPTextEncodeFlux")
    clip = tiny_encoders.clip("Flux")
    done = redacted(pack, clip)[0]
    plain, moved = (
        host.call(node, clip=each, clip_l=PROMPT, t5xxl=PROMPT, guidance=3.5)[0][0] for each in (clip, done)
    )
    assert not torch.equal(plain[0], moved[0]) and moved[1]["guidance"] == 3.5
    assert not torch.equal(plain[1]["pooled_output"], moved[1]["pooled_output"])


def test_a_redacted_encoder_gets_a_concept_space_of_its_own(pack):
    clip = tiny_encoders.clip("SD1")
    clip.tokenizer.safelight_anchors = {"benign": KEEP.split("\n"), "unsafe": ["a knife", "a gun", "a gun on a table"]}
    done = redacted(pack, clip)[0]
    plain = concept_spaces.space_of(clip, ["a knife"])
    assert concept_spaces.space_of(done, ["a knife"]) is not plain
    assert concept_spaces.space_of(clip.clone(), ["a knife"]) is plain
    assert concept_spaces.space_of(done.clone(), ["a knife"]) is concept_spaces.space_of(done, ["a knife"])


def test_the_encoder_goes_when_nobody_holds_it(pack):
    import weakref

    clip = tiny_encoders.clip("SD1")
    model = weakref.ref(clip.cond_stage_model)
    done = redacted(pack, clip)[0]
    encode(done)
    encode(clip)
    del clip, done
    comfy.model_management.unload_all_models()
    gc.collect()
    assert model() is None
