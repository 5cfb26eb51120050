"""SafelightSemanticSurgery: what a prompt names is taken out of its states, and nothing else is touched."""

from __future__ import annotations

import math

import host
import pytest
import tiny_encoders
import torch
from planted_words import (
    BENIGN,
    CONCEPTS,
    KNOWN_FORMS,
    LONG,
    UNSAFE,
    counted,
    meaningful_clip,
    patched,
    same,
    scheduled,
    stock,
    with_few_anchors,
)
from tiny_models import latent

from safelight.engine import semantic_surgery
from safelight.engine.encoder import encode_neutral
from safelight.text.inherit import HARMLESS

NAMES, NAMES_NONE = "a knife", "a red chair"
PROBE = 2  # calls that tell whether a new encoder's rows are known
START = 1 + 1 + 2  # a call that tries several texts at once, which CLIP does not take; the empty text, two concepts
PHRASES = len(BENIGN) + len(UNSAFE)


@pytest.fixture
def operate(pack):
    """A call of the node: (conditioning, risk, removed, note)."""

    def run(clip, prompt=NAMES, concepts=CONCEPTS, **inputs):
        ran = pack.nodes["SafelightSemanticSurgery"]().encode(clip=clip, prompt=prompt, concepts=concepts, **inputs)
        return (*ran["result"], ran["ui"]["safelight_note"][0])

    return run


@pytest.fixture(scope="module")
def clip():
    return meaningful_clip()


def calls_of(operate, clip, *inputs, **settings):
    with counted(clip) as calls:
        operate(clip, *inputs, **settings)
    return len(calls)


def unmarked(conditioning):
    """Without the mark that a sampler's `safe` reads."""
    assert all(extra[HARMLESS] for _, extra in conditioning)
    return [[states, {key: value for key, value in extra.items() if key != HARMLESS}] for states, extra in conditioning]


@pytest.mark.parametrize("prompt", [NAMES_NONE, "a bird on a lamp", "a (bird:1.3) on a lamp", "", " \n"])
def test_a_prompt_that_names_nothing_stays_as_written(operate, clip, prompt):
    conditioning, risk, removed, note = operate(clip, prompt)
    assert same(unmarked(conditioning), stock(clip, prompt))
    assert 0.0 <= risk < 0.5 and removed == "" and "stays as written" in note


@pytest.mark.parametrize("prompt", [NAMES, NAMES_NONE, "a (gun:1.3)", LONG])
def test_strength_zero_leaves_every_prompt_as_written(operate, clip, prompt):
    conditioning, _, removed, note = operate(clip, prompt, strength=0.0)
    plain = stock(clip, prompt)
    assert same(conditioning, plain) or same(unmarked(conditioning), plain)
    assert removed == "" and "as written" in note


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_what_is_named_is_taken_out_by_the_formula(operate, clip, strength):
    conditioning, risk, removed, note = operate(clip, NAMES, strength=strength)
    assert 0.5 <= risk < 1.0 and removed == "weapon, blood" and "weapon" in note
    (written, extra), (named, empty) = stock(clip, NAMES)[0], (encode_neutral(clip, t) for t in (removed, ""))
    amount = strength * risk
    states, pooled = conditioning[0][0], conditioning[0][1]["pooled_output"]
    assert torch.allclose(states, written - amount * (named.states - empty.states), atol=1e-5)
    assert torch.allclose(pooled, extra["pooled_output"] - amount * (named.pooled - empty.pooled), atol=1e-5)
    assert torch.equal(states[:, 0], written[:, 0]), "the start token"
    assert conditioning[0][1].keys() == extra.keys()


def test_a_weight_scales_what_its_word_loses(operate, clip):
    written, taken = {}, {}
    for weight in (1.0, 0.5):
        prompt = f"a (knife:{weight})"
        written[weight] = stock(clip, prompt)[0][0]
        taken[weight] = (written[weight] - operate(clip, prompt)[0][0][0])[0]
    assert taken[1.0][2].norm() > 0.1 and torch.allclose(taken[0.5][2], 0.5 * taken[1.0][2], atol=1e-5)
    assert torch.allclose(taken[0.5][3:], taken[1.0][3:], atol=1e-5), "of the other tokens as much"


def test_every_chunk_of_a_long_prompt_loses_what_is_named(operate, clip):
    conditioning, *_, removed, _ = operate(clip, LONG)
    changed = (conditioning[0][0] != stock(clip, LONG)[0][0]).any(dim=-1)[0]
    assert removed and changed[1:77].all() and changed[78:].all() and not changed[0] and not changed[77]


def test_the_order_of_the_concepts_changes_nothing(operate):
    one, other = operate(meaningful_clip(), NAMES, "weapon, blood"), operate(meaningful_clip(), NAMES, "blood\nweapon")
    assert same(one[0], other[0]) and one[1:] == other[1:]


def test_the_steps_of_a_run_are_those_of_a_stock_run(pack, operate, eps):
    """The pictures of what names nothing are the stock ones, of what names something others, in as many rows."""
    fitting = with_few_anchors(tiny_encoders.fitting_clip())
    negative, plain = stock(fitting, ""), {prompt: stock(fitting, prompt) for prompt in (NAMES, NAMES_NONE)}
    for prompt, written in plain.items():
        conditioning = operate(fitting, prompt)[0]
        with host.count_rows(eps) as expected:
            before = host.stock(eps, written, negative, latent())
        with host.count_rows(eps) as rows:
            after = host.stock(eps, conditioning, negative, latent())
        assert rows == expected
        assert torch.equal(before, after) == same(written, [[s, {**e}] for s, e in conditioning])


# -- in a graph -------------------------------------------------------------------------------------------------------


def test_it_is_a_safe_prompt_for_a_sampler_of_ours(pack, operate, monkeypatch, eps):
    """Also where the prompt names nothing: then the run is the stock one."""
    fitting = with_few_anchors(tiny_encoders.fitting_clip())
    negative = stock(fitting, "")
    for rho in (0.9, 0.1):
        monkeypatch.setattr(semantic_surgery, "probabilities", lambda scales, found, rho=rho: [rho] * len(found))
        positive, safe = stock(fitting, NAMES), operate(fitting, NAMES)[0]
        ours = pack.ksampler(eps, positive, safe, negative, latent(), safety=1.0)
        plain = host.stock(eps, positive, negative, latent())
        assert torch.equal(ours, plain) == (rho < 0.5)


def test_every_entry_of_a_scheduled_encoder_loses_what_that_entry_has(operate):
    clip = scheduled(meaningful_clip())
    conditioning, risk, removed, _ = operate(clip, NAMES)
    written, named, empty = (stock(clip, text) for text in (NAMES, removed, ""))
    assert removed and len(conditioning) == len(written) > 1
    for (states, _), (before, _), (one, _), (other, _) in zip(conditioning, written, named, empty, strict=True):
        assert torch.allclose(states[:, 1:], (before - risk * (one - other))[:, 1:], atol=1e-5)


@pytest.mark.parametrize("form", KNOWN_FORMS)
def test_every_known_encoder_gives_states_of_the_same_form(operate, form, monkeypatch):
    monkeypatch.setattr(semantic_surgery, "probabilities", lambda scales, found: [0.8] * len(found))
    clip = with_few_anchors(tiny_encoders.clip(form))
    for prompt in ("a cat and a knife", LONG):
        ((states, extra),), ((before, extra_before),) = operate(clip, prompt)[0], stock(clip, prompt)
        assert states.shape == before.shape and states.dtype == before.dtype and torch.isfinite(states).all()
        assert not torch.equal(states, before) and extra.keys() == extra_before.keys()
        zeroed = (before == 0).all(dim=-1)
        assert torch.equal(states[zeroed], before[zeroed]), "padding"


# -- calibration ------------------------------------------------------------------------------------------------------


def test_a_prompt_costs_few_calls_once_its_encoder_is_calibrated(operate):
    clip = meaningful_clip()
    assert calls_of(operate, clip, NAMES_NONE) == PROBE + 1 + START + PHRASES
    assert calls_of(operate, clip, NAMES_NONE) == 1
    assert calls_of(operate, clip, NAMES) == 3, "the concepts together, and the empty text"
    assert calls_of(operate, clip, "a (chair:1.2)") == 2, "once without weights"
    assert calls_of(operate, clip, NAMES, strength=0.0) == 1


def test_a_new_encoder_of_the_same_weights_is_not_calibrated_again(operate, kept):
    first = operate(meaningful_clip(), NAMES)
    (file,) = kept.iterdir()
    again = meaningful_clip()
    assert calls_of(operate, again, NAMES_NONE) == PROBE + 1 + START
    later = operate(again, NAMES)
    assert same(first[0], later[0]) and first[1:] == later[1:]
    assert list(kept.iterdir()) == [file]


def test_its_calibration_is_not_taken_for_that_of_encoder_risk(pack, operate, kept):
    clip, inputs = meaningful_clip(), {"prompt": NAMES, "concepts": CONCEPTS}
    found = pack.nodes["SafelightEncoderRisk"]().measure(clip, **inputs)["result"]
    first = operate(clip, NAMES)
    assert len(list(kept.iterdir())) == 2
    again = meaningful_clip()
    assert pack.nodes["SafelightEncoderRisk"]().measure(again, **inputs)["result"] == found
    assert operate(again, NAMES)[1:] == first[1:]


def test_concepts_weights_and_loras_have_calibrations_of_their_own(operate, kept):
    clip = meaningful_clip()
    operate(clip)
    operate(clip, concepts="weapon")
    operate(meaningful_clip(seed=4))
    assert len(list(kept.iterdir())) == 3
    lora = patched(clip, 1)
    assert calls_of(operate, lora, NAMES_NONE) == 1 + START + PHRASES
    assert calls_of(operate, lora, NAMES_NONE) == 1 and len(list(kept.iterdir())) == 3


def test_a_file_that_cannot_be_read_is_made_again(operate, kept):
    first = operate(meaningful_clip(), NAMES)
    (file,) = kept.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert operate(meaningful_clip(), NAMES)[1:] == first[1:]
    assert file.read_bytes() == whole


def test_an_encoder_that_can_not_tell_loses_every_concept_and_that_is_said(operate):
    clip = tiny_encoders.clip("SD1")
    conditioning, risk, removed, note = operate(clip, "a cat on a table", "nudity, violence")
    assert risk == 1.0 and removed == "nudity, violence" and "can't tell" in note
    assert not torch.equal(conditioning[0][0], stock(clip, "a cat on a table")[0][0])


# -- what can't be done -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"prompt": None}, "prompt"),
        ({"concepts": None}, "concepts"),
        ({"concepts": " , "}, "concepts"),
        ({"strength": -0.1}, "strength"),
        ({"strength": 2.5}, "strength"),
        ({"strength": math.nan}, "strength"),
    ],
)
def test_what_can_not_be_done_is_an_error_that_names_the_input(operate, clip, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        operate(clip, **inputs)


def test_no_encoder_and_encoders_whose_rows_are_not_single_words_are_refused(operate):
    with pytest.raises(ValueError, match="^clip: expected a text encoder, got none"):
        operate(None)
    for form in tiny_encoders.UNKNOWN_ROWS:
        with pytest.raises(ValueError, match="^clip: expected .* whose rows are single words.*Context Encode"):
            operate(with_few_anchors(tiny_encoders.clip(form)))


def test_an_encoder_that_breaks_is_an_error(operate):
    broken = meaningful_clip()
    operate(broken)
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="^clip: expected finite"):
        operate(broken)
