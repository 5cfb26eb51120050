"""SafelightContextEncode by its methods that change states: project and subtract, and what they are calibrated on."""

from __future__ import annotations

import gc
import json
import math

import comfy.model_management
import pytest
import tiny_encoders
import torch
from planted_words import (
    BENIGN,
    CONCEPTS,
    KNOWN_FORMS,
    LONG,
    PROMPT,
    copied,
    counted,
    meaningful_clip,
    patched,
    same,
    scheduled,
    stock,
    with_few_anchors,
)

from safelight.engine import concept_spaces, context_states
from safelight.text.inherit import HARMLESS, ROWS
from safelight.text.safe_prompt import reader_of

TEXTS = {"plain": PROMPT, "weighted": "a (cat:1.4) and a (knife:0.6)", "empty": "", "long": LONG}
every_text = pytest.mark.parametrize("text", list(TEXTS.values()), ids=list(TEXTS))
both_methods = pytest.mark.parametrize("method", ["project", "subtract"])


@pytest.fixture(scope="module", params=KNOWN_FORMS)
def clip(request):
    return with_few_anchors(tiny_encoders.clip(request.param))


@pytest.fixture
def meaningful():
    return meaningful_clip()


@pytest.fixture
def encode(pack):
    """A call of the node: (positive, safe, risk, what it tells the artist)."""

    def run(clip, prompt=PROMPT, **inputs):
        inputs = {"concepts": CONCEPTS, "method": "project", **inputs}
        found = pack.nodes["SafelightContextEncode"]().encode(clip, prompt, **inputs)
        return *found["result"][:3], json.loads(found["ui"]["safelight_verdict"][0])

    return run


@every_text
@both_methods
def test_positive_is_the_hosts_own_encoding(encode, clip, text, method):
    expected = stock(clip, text)
    positive, safe, risk, verdict = encode(clip, text, method=method)
    assert same(positive, expected) and all(torch.isfinite(states).all() for states, _ in safe)
    assert 0.0 <= risk <= 1.0 and verdict["method"] == method and "safe_prompt" not in verdict


@every_text
@both_methods
def test_at_most_two_calls_of_the_encoder_once_the_concepts_are_known(encode, clip, text, method):
    encode(clip, "a cat", method=method)
    with counted(clip) as calls:
        encode(clip, text, method=method)
    assert len(calls) == (2 if ":" in text else 1)


@both_methods
def test_safe_has_the_shape_and_the_other_keys_of_positive(encode, clip, method):
    positive, safe, _, _ = encode(clip, method=method)
    for (states, extra), (safe_states, safe_extra) in zip(positive, safe, strict=True):
        assert safe_states.shape == states.shape and safe_states.dtype == states.dtype
        assert not torch.equal(safe_states, states)
        assert list(safe_extra) == [*extra, ROWS]
        assert torch.equal(safe_extra[ROWS][0], torch.arange(states.shape[1]))  # each row stands for itself
        for key in extra.keys() - {"pooled_output"}:
            assert safe_extra[key] is extra[key] or torch.equal(safe_extra[key], extra[key])


@both_methods
def test_strength_zero_is_the_prompt_as_written_and_that_is_said(encode, clip, method):
    for text in (PROMPT, "a cat on a table"):
        positive, safe, _, verdict = encode(clip, text, method=method, strength=0.0)
        assert same(safe, positive) and any("strength is 0" in note for note in verdict["notes"])


def test_the_risk_is_the_readers_whatever_the_encoder_finds(encode, clip, meaningful):
    for text in (PROMPT, "a cat on a table", "a (cat:1.4) and a pistol"):
        expected = reader_of(CONCEPTS)(text).risk
        for method in ("project", "subtract"):
            assert encode(clip, text, method=method)[2] == encode(meaningful, text, method=method)[2] == expected


def test_a_prompt_that_cannot_be_read_has_risk_one_and_that_is_said(encode, meaningful):
    for method in ("project", "subtract"):
        positive, safe, risk, verdict = encode(meaningful, "кошка на столе", method=method)
        assert risk == 1.0 and not same(positive, safe) and any("risk is 1" in note for note in verdict["notes"])


def test_earlier_results_and_what_is_remembered_never_change(encode, clip):
    first = encode(clip)
    kept = copied(first[0]), copied(first[1])
    for method in ("subtract", "project"):
        encode(clip, "a knife and a gun", method=method, strength=2.0)
    assert same(first[0], kept[0]) and same(first[1], kept[1])
    again = encode(clip)
    assert same(again[1], kept[1]) and again[2] == first[2]


def test_an_unsafe_word_is_found_named_and_taken_out(encode, meaningful):
    positive, safe, _, verdict = encode(meaningful)
    assert "knife" in verdict["words"] and not {"cat", "a", "on"} & set(verdict["words"])
    place = 1 + PROMPT.split().index("knife")
    assert not torch.allclose(safe[0][0][0, place], positive[0][0][0, place], atol=0.1)
    before = 1 + PROMPT.split().index("cat")  # the encoder is causal: nothing unsafe has been said yet
    assert torch.equal(safe[0][0][0, before], positive[0][0][0, before])
    assert torch.equal(safe[0][0][0, 0], positive[0][0][0, 0])


@pytest.mark.parametrize("weight", [0.3, 1.6])
def test_a_weighted_unsafe_word_is_found_as_well(encode, meaningful, weight):
    verdict = encode(meaningful, f"a cat and a (knife:{weight}) on a green table")[3]
    assert "knife" in verdict["words"]


def test_what_the_encoder_alone_finds_is_taken_out_too(encode, meaningful):
    """A sword is no spider to the reader, but the calibration phrases with one are unsafe ones."""
    positive, safe, risk, verdict = encode(meaningful, "a cat and a sword on a table", concepts="spiders")
    assert risk < 0.5 and "sword" in verdict["words"] and not same(safe, positive)
    assert not any(HARMLESS in extra for _, extra in safe)


def test_what_the_reader_alone_finds_is_taken_out_of_every_word(encode, meaningful):
    """A pistol is none of the words that this encoder knows to be unsafe."""
    positive, safe, risk, verdict = encode(meaningful, "a cat and a pistol on a table")
    assert risk >= 0.5 and not any(HARMLESS in extra for _, extra in safe) and verdict["notes"] == []
    changed = (safe[0][0] != positive[0][0]).any(dim=-1)[0]
    assert not changed[0] and changed[1:9].all()


def test_a_prompt_in_which_neither_finds_anything_keeps_its_bits(encode, meaningful):
    positive, safe, risk, verdict = encode(meaningful, "a cat on a table")
    assert all(extra.pop(HARMLESS) for _, extra in safe)  # by which a sampler knows that this is meant
    assert risk < 0.5 and same(safe, positive) and verdict["words"] == [] and verdict["notes"]


def test_an_unsafe_word_in_a_later_chunk_leaves_the_first_alone(encode, meaningful):
    positive, safe, _, verdict = encode(meaningful, LONG)
    assert positive[0][0].shape[1] == 154 and "knife" in verdict["words"]
    assert torch.equal(safe[0][0][:, :77], positive[0][0][:, :77])
    assert not torch.equal(safe[0][0][:, 77:], positive[0][0][:, 77:])


def test_a_lora_on_the_encoder_gets_a_concept_space_of_its_own(encode, meaningful):
    plain = encode(meaningful)
    lora = patched(meaningful, 1)
    with counted(lora) as calls:
        other = encode(lora)
    assert len(calls) > len(BENIGN) and not same(other[1], plain[1])
    assert same(other[0], stock(lora, PROMPT))
    back = encode(meaningful)
    assert same(back[0], plain[0]) and same(back[1], plain[1])


def test_clip_skip_gets_a_concept_space_of_its_own(encode, meaningful):
    encode(meaningful)
    skipped = meaningful.clone()
    skipped.clip_layer(-2)
    with counted(skipped) as calls:
        encode(skipped)
    assert len(calls) > len(BENIGN)


@pytest.mark.slow
def test_memory_is_bounded_and_goes_with_the_encoder(encode, meaningful):
    for seed in range(4):
        encode(patched(meaningful, seed), concepts=f"weapon, blood, {BENIGN[seed][2:]}")
        for concepts in ("weapon", "blood", "gun", "knife"):
            encode(meaningful, concepts=concepts)
    known = concept_spaces._memory[meaningful.cond_stage_model]
    assert len(known.anchors) <= 2 and len(known.spaces) <= 8 and len(known.prints) <= 8
    count = len(concept_spaces._memory)
    fresh = meaningful_clip()
    encode(fresh)
    assert len(concept_spaces._memory) == count + 1
    del fresh
    comfy.model_management.unload_all_models()
    gc.collect()
    assert len(concept_spaces._memory) <= count


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"concepts": ""}, "concepts"),
        ({"method": "subtract", "concepts": " , "}, "concepts"),
        ({"strength": math.inf}, "strength"),
        ({"strength": -1.0}, "strength"),
        ({"false_alarms": 0.0}, "false_alarms"),
    ],
)
def test_what_cannot_be_taken_away_is_an_error_that_names_the_input(encode, meaningful, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        encode(meaningful, **inputs)


@both_methods
def test_an_encoder_that_breaks_is_an_error(encode, method):
    broken = with_few_anchors(tiny_encoders.clip("SD1"))
    encode(broken)
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="expected finite"):
        encode(broken, method=method)


def test_every_entry_of_a_scheduled_encoder_is_made_safe(encode, meaningful):
    """A LoRA on the encoder that changes over the run gives a CONDITIONING of several entries."""
    changing = scheduled(meaningful)
    expected = stock(changing, PROMPT)
    positive, safe, _, _ = encode(changing)
    assert len(expected) > 1 and len(safe) == len(positive) == len(expected)
    for (states, extra), (safe_states, safe_extra), (stock_states, _) in zip(positive, safe, expected, strict=True):
        assert torch.equal(states, stock_states) and not torch.equal(states, safe_states)
        assert {k: v for k, v in extra.items() if k.startswith("clip_")} == {
            k: v for k, v in safe_extra.items() if k.startswith("clip_")
        }


@pytest.mark.parametrize("texts", [("a cat on a table", PROMPT), (PROMPT, "a cat on a table"), (PROMPT, "")])
@pytest.mark.parametrize("risk", [0.0, 1.0])
def test_one_unsafe_entry_of_several_is_enough(meaningful, monkeypatch, texts, risk):
    """Its words are named, and what is unsafe is taken out of it; where the reader found something, out of all."""
    each = [context_states._encode(meaningful, text, "project") for text in texts]
    positive, encodings = sum((e.positive for e in each), []), sum((list(e.encodings) for e in each), [])
    entries = context_states.EncodedPrompt(positive, encodings)
    monkeypatch.setattr(context_states, "_encode", lambda *_: entries)
    context = context_states.project_context(meaningful, PROMPT, CONCEPTS, 1.0, risk)
    verdict = context.verdict
    assert "knife" in verdict.words and verdict.notes == () and verdict.risk == risk
    for text, (states, _), (safe_states, extra) in zip(texts, positive, context.safe, strict=True):
        kept = text == "" or (text != PROMPT and risk == 0.0)
        assert torch.equal(states, safe_states) == kept and HARMLESS not in extra
