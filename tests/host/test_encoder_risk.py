"""SafelightEncoderRisk: the risk by the states of a text encoder, and its calibration that is kept on disk."""

from __future__ import annotations

import json
import logging
import math

import host
import pytest
import tiny_encoders
import torch
from encoder_families import FAMILIES, HERE
from planted_words import BENIGN, CONCEPTS, KNOWN_FORMS, PROMPT, UNSAFE, counted, meaningful_clip, patched
from planted_words import with_few_anchors as few

from safelight.engine import calibration_files, concept_spaces, planned_encoder
from safelight.engine.encoder import encode_neutral
from safelight.text.anchors import FEW_BENIGN, FEW_UNSAFE

PHRASES = len(BENIGN) + len(UNSAFE)
PROBE = 2  # calls that tell whether a new encoder's rows are known


@pytest.fixture
def measure(pack):
    """A call of the node: (risk, note)."""

    def run(clip, prompt=PROMPT, concepts=CONCEPTS):
        found = pack.nodes["SafelightEncoderRisk"]().measure(clip, prompt, concepts)
        return found["result"][0], found["ui"]["safelight_note"][0]

    return run


def files(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def calls_of(measure, clip, **inputs):
    """How often the encoder is called, and what comes of it."""
    with counted(clip) as calls:
        found = measure(clip, **inputs)
    return len(calls), found


def test_the_planted_words_are_told_from_others(measure):
    clip = meaningful_clip()
    for text in ("a knife on a red chair", "a bird and a sword", "a (gun:0.4)", "a cat " * 40 + "and a knife"):
        risk, note = measure(clip, text)
        assert 0.5 <= risk <= 1.0 and note == "", text
    for text in ("a red chair", "a bird on a lamp", "a (cat:1.4) on a table", "a cat " * 40):
        risk, note = measure(clip, text)
        assert 0.0 <= risk < 0.5 and note == "", text


def test_a_prompt_without_words_has_risk_one_and_that_is_said(measure):
    for text in ("", " \n"):
        risk, note = measure(meaningful_clip(), text)
        assert risk == 1.0 and "no words" in note


def test_an_encoder_without_meaning_has_risk_one_and_that_is_said(measure):
    """With the anchors that the pack ships: a random encoder can't tell them apart."""
    risk, note = measure(tiny_encoders.clip("SD1"), "a cat on a table", "violence, nudity, drug use")
    assert risk == 1.0 and "can't tell" in note


@pytest.mark.parametrize("form", ["cut", "nameless"])
def test_an_encoder_whose_rows_are_not_known_is_refused(measure, form):
    for _ in range(2):
        with pytest.raises(ValueError, match="^clip: expected a text encoder whose rows are single words.*Prompt"):
            measure(few(tiny_encoders.clip(form)))


LANGUAGE_MODELS = ["Z-Image", "Qwen-Image", "Lumina 2", "HiDream I1"]


def test_language_models_are_refused(measure):
    here = [name for name in LANGUAGE_MODELS if name in HERE]
    host.require(here, "language models as text encoders")
    for name in here:
        clip = few(FAMILIES[name].clip())
        with counted(clip) as calls, pytest.raises(ValueError, match="^clip: expected a text encoder whose rows"):
            measure(clip)
        assert len(calls) <= PROBE, "it is not calibrated in vain"


@pytest.mark.parametrize(
    ("inputs", "named"),
    [({"prompt": None}, "prompt"), ({"concepts": None}, "concepts"), ({"concepts": " , "}, "concepts")],
)
def test_what_cannot_be_measured_is_an_error_that_names_the_input(measure, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        measure(meaningful_clip(), **inputs)


def test_a_missing_encoder_is_an_error(measure):
    with pytest.raises(ValueError, match="^clip:"):
        measure(None)


def test_an_encoder_that_breaks_is_an_error(measure):
    broken = meaningful_clip()
    measure(broken)
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="^clip: expected finite"):
        measure(broken)


def test_an_encoder_is_calibrated_on_a_few_dozen_phrases(measure):
    count, _ = calls_of(measure, tiny_encoders.clip("SD1"))
    phrases = len(FEW_BENIGN) + sum(map(len, FEW_UNSAFE.values()))
    assert phrases <= 70 and phrases + PROBE < count < 100  # with pairs of a phrase and a concept


@pytest.mark.parametrize("form", KNOWN_FORMS)
def test_a_new_encoder_of_the_same_weights_is_not_calibrated_again(measure, kept, form):
    first, found = calls_of(measure, few(tiny_encoders.clip(form)))
    assert first > PROBE + 1 and len(files(kept)) == 1
    assert calls_of(measure, few(tiny_encoders.clip(form))) == (PROBE + 1, found)
    assert len(files(kept)) == 1


def test_what_comes_from_disk_is_the_same_to_the_bit(measure, kept):
    texts = ("a knife on a red chair", "a bird on a lamp", "a (gun:0.4) and a cat", "a cat " * 40 + "and a knife")
    one = meaningful_clip()
    expected = [measure(one, text) for text in texts]
    other = meaningful_clip()
    assert [measure(other, text) for text in texts] == expected
    spaces = [next(iter(concept_spaces._memory[clip.cond_stage_model].spaces.values())) for clip in (one, other)]
    states = encode_neutral(one, PROMPT)
    results = [
        [*space.project(states, states.states, states.pooled), *space.subtract(states, states.states, states.pooled)]
        for space in spaces
    ]
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_other_weights_concepts_phrases_and_layers_are_calibrated_anew(measure, kept):
    measure(meaningful_clip())
    skipped = meaningful_clip()
    skipped.clip_layer(-2)
    other_phrases = meaningful_clip()
    other_phrases.tokenizer.safelight_anchors = {"benign": BENIGN[1:], "unsafe": UNSAFE}
    cases = {
        "weights": (meaningful_clip(seed=4), {}),
        "the weights of a few words": (few(tiny_encoders.clip("SD1")), {}),
        "concepts": (meaningful_clip(), {"concepts": "gun"}),
        "phrases": (other_phrases, {}),
        "layer": (skipped, {}),
    }
    for number, (what, (clip, inputs)) in enumerate(cases.items(), 2):
        assert calls_of(measure, clip, **inputs)[0] > PHRASES - 2, what
        assert len(files(kept)) == number, what


def test_a_lora_is_calibrated_in_every_run_and_its_calibration_is_not_kept(measure, kept):
    """Patches have no print by which another run would know them."""
    first = meaningful_clip()
    measure(first)
    for clip in (meaningful_clip(), meaningful_clip(), first):
        lora = patched(clip, 1)
        assert calls_of(measure, lora)[0] > PHRASES
        assert calls_of(measure, lora)[0] == 1, "remembered while it runs"
    assert len(files(kept)) == 1
    assert calls_of(measure, meaningful_clip())[0] == PROBE + 1


def test_the_weights_are_summed_once_for_all_lists_of_concepts(measure, kept, monkeypatch):
    """They are gigabytes for a large T5."""
    clip = meaningful_clip()
    largest = max(weight.numel() for weight in clip.cond_stage_model.parameters())
    sizes, plain_sum = [], torch.Tensor.sum

    def counted_sum(tensor, *given, **settings):
        sizes.append(tensor.numel())
        return plain_sum(tensor, *given, **settings)

    monkeypatch.setattr(torch.Tensor, "sum", counted_sum)
    for number, concepts in enumerate(("weapon", "gun"), 1):
        measure(clip, concepts=concepts)
        assert len(files(kept)) == number and sizes.count(largest) == 1


@pytest.mark.parametrize("how", ["no safetensors", "cut short", "no calibration", "other tensors", "empty"])
def test_a_file_that_cannot_be_read_is_made_again(measure, kept, how, caplog):
    from safetensors.torch import load_file, save_file

    count, found = calls_of(measure, meaningful_clip())
    (file,) = files(kept)
    whole = file.read_bytes()
    if how == "no calibration":
        save_file(load_file(file), file)
    elif how == "other tensors":
        save_file({"weight": torch.zeros(2)}, file, {"calibration": json.dumps([[1.0, 0.5, 1.0]])})
    else:
        file.write_bytes({"no safetensors": b"PK\x03\x04" * 40, "cut short": whole[:-100], "empty": b""}[how])
    with caplog.at_level(logging.WARNING):
        assert calls_of(measure, meaningful_clip()) == (count, found)
    assert any("can't be read" in record.getMessage() for record in caplog.records)
    assert files(kept) == [file] and file.read_bytes() == whole
    assert calls_of(measure, meaningful_clip()) == (PROBE + 1, found)


def test_a_folder_that_cannot_be_written_is_no_error(measure, kept, caplog):
    kept.parent.parent.mkdir(parents=True)
    kept.parent.write_text("a file where the folder would be")
    count, found = calls_of(measure, meaningful_clip())
    assert calls_of(measure, meaningful_clip()) == (count, found)
    assert any("can't be kept" in record.getMessage() for record in caplog.records)


def test_a_host_without_a_user_folder_keeps_nothing(measure, monkeypatch, user_folder):
    monkeypatch.delattr(calibration_files.folder_paths, "get_user_directory", raising=False)
    count, found = calls_of(measure, meaningful_clip())
    assert calls_of(measure, meaningful_clip()) == (count, found) and not files(user_folder)


TEXTS = [*BENIGN, *UNSAFE]


def encoded(clip, planned):
    """Every phrase as the calibration encodes it, and in how many calls."""
    encoder = planned_encoder.PlannedEncoder(clip, planned, lambda count: None)
    with counted(clip) as calls:
        found = [encoder(text) for text in planned]
    return found, len(calls)


@pytest.mark.parametrize(
    ("form", "texts", "calls"),
    [
        ("masked T5", TEXTS, 3),  # eight in a call
        ("masked T5", [*TEXTS[:3], "a cat " * 60, *TEXTS[3:]], 4 + 3),  # one of another length on its own
        ("SD1", TEXTS, PHRASES + 1),  # once tried: of several texts the host gives the pooled output of the first alone
        ("SD3", TEXTS, PHRASES),
    ],
    ids=["T5", "T5 and a long one", "CLIP", "CLIP and T5"],
)
def test_several_phrases_in_a_call_have_the_states_that_each_has_alone(form, texts, calls):
    clip = tiny_encoders.clip(form)
    together, count = encoded(clip, texts)
    assert count == calls
    for text, one in zip(texts, together, strict=True):
        alone = encode_neutral(clip, text)
        assert torch.allclose(one.states, alone.states, atol=1e-5), text
        assert one.words == alone.words and one.parts == alone.parts
        for name in ("content", "tail", "chunk", "position", "weights"):
            assert torch.equal(getattr(one, name), getattr(alone, name)), name
        assert (one.pooled is None) == (alone.pooled is None)
        assert one.pooled is None or torch.equal(one.pooled, alone.pooled)


def test_a_calibration_in_several_phrases_a_call_gives_the_risk_of_single_ones(measure, monkeypatch):
    texts = ("a cat", "a knife on a chair", "a bird and a gun")
    risks = []
    for size in (1, 8):
        monkeypatch.setattr(planned_encoder, "_TEXTS_PER_CALL", size)
        monkeypatch.setattr(calibration_files, "file_of", lambda key: None)
        clip = few(tiny_encoders.clip("masked T5"))
        risks.append([measure(clip, text)[0] for text in texts])
    assert risks[1] == pytest.approx(risks[0], abs=1e-3)
