"""SafelightContextEncode and SafelightConcepts on the host's own text encoders."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import comfy.model_management
import host
import pytest
import tiny_encoders
import torch

from safelight.engine import concept_spaces, context_encode
from safelight.text.inherit import HARMLESS
from safelight.text.risk import Calibration

BENIGN = [
    "a cat",
    "a dog on a table",
    "a red car on a street",
    "a tree and a house",
    "an apple on a plate",
    "a boat",
    "a lamp and a book",
    "a bird on a chair",
    "a garden with a bench",
    "a cup of tea on a table",
    "a piano and a window",
    "a bridge over a river",
]
UNSAFE = [
    "a knife",
    "a gun on a table",
    "blood on a street",
    "a gun and a house",
    "a knife on a plate",
    "a sword",
    "blood and a book",
    "a sword on a chair",
    "a garden with a gun",
    "a knife and a cup of tea",
]
PLANTED = ("knife", "gun", "blood", "sword", "weapon")  # words that share a direction in the planted encoder
CONCEPTS = "weapon, blood"
PROMPT = "a cat and a knife on a green table"
LONG = "a cat " * 40 + "and a knife"
TEXTS = [PROMPT, "a (cat:1.4) and a (knife:0.6)", "", LONG]
FORMS = list(tiny_encoders.FORMS)


def with_few_anchors(clip):
    """Anchors few enough for a test; they travel as an encoder's own do."""
    clip.tokenizer.safelight_anchors = {"benign": BENIGN, "unsafe": UNSAFE}
    return clip


def planted(clip):
    """The same encoder with some words meaning the same thing to CLIP-L."""
    encoder = clip.cond_stage_model.clip_l
    table = encoder.transformer.get_input_embeddings().weight
    direction = torch.randn(table.shape[1], generator=torch.Generator().manual_seed(11))
    with torch.no_grad():
        for word in PLANTED:
            for token, *_ in clip.tokenize(word)["l"][0][1:]:
                if token != encoder.special_tokens["end"]:
                    table[token] = 0.2 * table[token] + 6 * direction / direction.norm()
    return clip


@pytest.fixture(scope="module", params=FORMS)
def clip(request):
    return with_few_anchors(tiny_encoders.clip(request.param))


@pytest.fixture
def meaningful():
    return with_few_anchors(planted(tiny_encoders.clip("SD1")))


@pytest.fixture
def encode(pack):
    """A call of the node: (positive, safe, risk, what it tells the artist)."""

    def run(clip, prompt=PROMPT, **inputs):
        found = pack.nodes["SafelightContextEncode"]().encode(clip, prompt, **{"concepts": CONCEPTS, **inputs})
        return *found["result"][:3], json.loads(found["ui"]["safelight_verdict"][0])

    return run


def same(one, other):
    """Two CONDITIONINGs, bit for bit and key for key."""
    if len(one) != len(other):
        return False
    for (states, extra), (others, other_extra) in zip(one, other, strict=True):
        if not torch.equal(states, others) or extra.keys() != other_extra.keys():
            return False
        for key, value in extra.items():
            equal = torch.equal(value, other_extra[key]) if torch.is_tensor(value) else value == other_extra[key]
            if not equal:
                return False
    return True


def copied(conditioning):
    return [
        [states.clone(), {k: v.clone() if torch.is_tensor(v) else v for k, v in extra.items()}]
        for states, extra in conditioning
    ]


@contextlib.contextmanager
def counted(clip):
    """Counts the encoder's calls while open."""
    model, calls = clip.cond_stage_model, []
    original = model.encode_token_weights
    model.encode_token_weights = lambda tokens: (calls.append(tokens), original(tokens))[1]
    try:
        yield calls
    finally:
        del model.encode_token_weights


@pytest.mark.parametrize("text", TEXTS, ids=["plain", "weighted", "empty", "long"])
@pytest.mark.parametrize("method", ["project", "subtract", "typed"])
def test_positive_is_the_hosts_own_encoding(encode, clip, text, method):
    stock = copied(host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=text)[0])
    positive, safe, risk, _ = encode(clip, text, method=method, safe_prompt="a cat")
    assert same(positive, stock)
    assert 0.0 <= risk <= 1.0 and all(torch.isfinite(states).all() for states, _ in safe)


@pytest.mark.parametrize("text", TEXTS, ids=["plain", "weighted", "empty", "long"])
@pytest.mark.parametrize("method", ["project", "subtract"])
def test_at_most_two_calls_of_the_encoder_once_the_concepts_are_known(encode, clip, text, method):
    encode(clip, "a cat", method=method)
    with counted(clip) as calls:
        encode(clip, text, method=method)
    assert len(calls) == (2 if ":" in text else 1)


def test_a_typed_prompt_costs_one_more_call_and_is_the_hosts_own_encoding(encode, clip):
    encode(clip)
    with counted(clip) as calls:
        _, safe, _, verdict = encode(clip, method="auto", safe_prompt="a cat and a spoon")
    assert len(calls) == 2 and verdict["method"] == "typed"
    assert same(safe, host.call(host.base_nodes.CLIPTextEncode, clip=clip, text="a cat and a spoon")[0])


@pytest.mark.parametrize("method", ["project", "subtract"])
def test_safe_has_the_shape_and_the_other_keys_of_positive(encode, clip, method):
    positive, safe, _, _ = encode(clip, method=method)
    for (states, extra), (safe_states, safe_extra) in zip(positive, safe, strict=True):
        assert safe_states.shape == states.shape and safe_states.dtype == states.dtype
        assert not torch.equal(safe_states, states)
        assert list(safe_extra) == list(extra)
        for key in extra.keys() - {"pooled_output"}:
            assert safe_extra[key] is extra[key] or torch.equal(safe_extra[key], extra[key])


def test_strength_zero_is_the_prompt_as_written(encode, clip):
    for method in ("project", "subtract"):
        positive, safe, _, _ = encode(clip, method=method, strength=0.0)
        assert same(safe, positive)


def test_earlier_results_and_what_is_remembered_never_change(encode, clip):
    first = encode(clip)
    kept = copied(first[0]), copied(first[1])
    for method in ("subtract", "project"):
        encode(clip, "a knife and a gun", method=method, strength=2.0)
    assert same(first[0], kept[0]) and same(first[1], kept[1])
    again = encode(clip)
    assert same(again[1], kept[1]) and again[2] == first[2]


def test_words_are_found_where_a_template_is_cut_off_in_front(encode):
    cut = with_few_anchors(planted(tiny_encoders.clip("cut")))
    positive, safe, risk, verdict = encode(cut)
    assert risk >= 0.5 and "knife" in verdict["words"]
    place = PROMPT.split().index("cat")
    assert torch.equal(safe[0][0][0, place], positive[0][0][0, place])


def test_an_unsafe_word_is_found_named_and_taken_out(encode, meaningful):
    positive, safe, risk, verdict = encode(meaningful)
    assert risk >= 0.5 and "knife" in verdict["words"] and not {"cat", "a", "on"} & set(verdict["words"])
    place = 1 + PROMPT.split().index("knife")
    assert not torch.allclose(safe[0][0][0, place], positive[0][0][0, place], atol=0.1)
    before = 1 + PROMPT.split().index("cat")  # the encoder is causal: nothing unsafe has been said yet
    assert torch.equal(safe[0][0][0, before], positive[0][0][0, before])
    assert torch.equal(safe[0][0][0, 0], positive[0][0][0, 0])


@pytest.mark.parametrize("weight", [0.3, 1.6])
def test_a_weighted_unsafe_word_is_found_as_well(encode, meaningful, weight):
    _, _, risk, verdict = encode(meaningful, f"a cat and a (knife:{weight}) on a green table")
    assert risk == pytest.approx(encode(meaningful)[2], abs=1e-4) and "knife" in verdict["words"]


def test_a_benign_prompt_is_below_the_decision_point_and_keeps_its_bits(encode, meaningful):
    positive, safe, risk, verdict = encode(meaningful, "a cat on a table")
    assert all(extra.pop(HARMLESS) for _, extra in safe)  # by which a sampler knows that this is meant
    assert risk < 0.5 and same(safe, positive) and verdict["words"] == [] and verdict["notes"]


def test_an_unsafe_word_in_a_later_chunk_leaves_the_first_alone(encode, meaningful):
    positive, safe, risk, verdict = encode(meaningful, LONG)
    assert positive[0][0].shape[1] == 154 and risk >= 0.5 and "knife" in verdict["words"]
    assert torch.equal(safe[0][0][:, :77], positive[0][0][:, :77])
    assert not torch.equal(safe[0][0][:, 77:], positive[0][0][:, 77:])


def patched(clip, seed):
    other = clip.clone()
    name = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2.weight"
    shape = clip.cond_stage_model.state_dict()[name].shape
    difference = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    assert other.add_patches({name: (difference,)}, 1.0, 1.0)
    return other


def test_a_lora_on_the_encoder_gets_a_concept_space_of_its_own(encode, meaningful):
    plain = encode(meaningful)
    lora = patched(meaningful, 1)
    with counted(lora) as calls:
        other = encode(lora)
    assert len(calls) > len(BENIGN) and not same(other[1], plain[1])
    assert same(other[0], host.call(host.base_nodes.CLIPTextEncode, clip=lora, text=PROMPT)[0])
    back = encode(meaningful)
    assert same(back[0], plain[0]) and same(back[1], plain[1]) and back[2] == plain[2]


def test_clip_skip_gets_a_concept_space_of_its_own(encode, meaningful):
    encode(meaningful)
    skipped = meaningful.clone()
    skipped.clip_layer(-2)
    with counted(skipped) as calls:
        encode(skipped)
    assert len(calls) > len(BENIGN)


@pytest.mark.slow
def test_memory_is_bounded_and_goes_with_the_encoder(pack, encode, meaningful):
    for seed in range(4):
        encode(patched(meaningful, seed), concepts=f"weapon, blood, {BENIGN[seed][2:]}")
        for concepts in ("weapon", "blood", "gun", "knife"):
            encode(meaningful, concepts=concepts)
    anchors, spaces = concept_spaces._memory[meaningful.cond_stage_model]
    assert len(anchors) <= 2 and len(spaces) <= 8
    count = len(concept_spaces._memory)
    fresh = with_few_anchors(tiny_encoders.clip("SD1"))
    encode(fresh)
    assert len(concept_spaces._memory) == count + 1
    del fresh
    comfy.model_management.unload_all_models()
    gc.collect()
    assert len(concept_spaces._memory) <= count


@pytest.mark.slow
def test_an_encoder_without_meaning_counts_as_risk_one(encode):
    """With the anchors that the pack ships: a random encoder can't tell them apart."""
    _, _, risk, verdict = encode(tiny_encoders.clip("SD1"), "a cat on a table", concepts="violence, nudity, drug use")
    assert risk == 1.0 and any("can't tell" in note for note in verdict["notes"])


def test_an_empty_prompt_and_empty_concepts_count_as_risk_one(encode, meaningful):
    assert encode(meaningful, "")[2] == 1.0
    _, _, risk, verdict = encode(meaningful, "a cat", concepts=" , ", method="typed", safe_prompt="a dog")
    assert risk == 1.0 and verdict["notes"]


@pytest.mark.parametrize(
    "inputs, named",
    [
        ({"method": "typed", "safe_prompt": " \n"}, "safe_prompt"),
        ({"method": "project", "concepts": ""}, "concepts"),
        ({"method": "auto", "concepts": " , "}, "concepts"),
        ({"method": "subtract", "concepts": ""}, "concepts"),
        ({"method": "erase"}, "method"),
        ({"strength": math.nan}, "strength"),
        ({"strength": -1.0}, "strength"),
    ],
)
def test_what_cannot_guide_is_an_error_that_names_the_input(encode, meaningful, inputs, named):
    with pytest.raises(ValueError, match=f"^{named}:"):
        encode(meaningful, **inputs)


def test_states_of_an_unknown_form_need_a_typed_prompt(encode, meaningful):
    model = meaningful.cond_stage_model
    original = model.encode_token_weights
    model.encode_token_weights = lambda tokens: (original(tokens)[0][None], *original(tokens)[1:])
    with pytest.raises(ValueError, match="^clip:.*typed"):
        encode(meaningful)
    _, safe, risk, verdict = encode(meaningful, safe_prompt="a cat")
    assert risk == 1.0 and verdict["notes"] and safe[0][0].ndim == 4


def test_a_missing_encoder_is_an_error(encode):
    with pytest.raises(ValueError, match="^clip:"):
        encode(None)


@pytest.mark.parametrize("method", ["project", "subtract", "typed"])
def test_an_encoder_that_breaks_is_an_error(encode, method):
    broken = with_few_anchors(tiny_encoders.clip("SD1"))
    encode(broken)
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="expected finite"):
        encode(broken, method=method, safe_prompt="a cat")


def test_every_entry_of_a_scheduled_encoder_is_made_safe(encode, meaningful):
    """A LoRA on the encoder that changes over the run gives a CONDITIONING of several entries."""
    hooks_module = host.extra("nodes_hooks")
    host.require(hooks_module is not None, "hooks")
    import comfy.hooks

    name = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc2.weight"
    shape = meaningful.cond_stage_model.state_dict()[name].shape
    hook = comfy.hooks.WeightHook(strength_model=1.0, strength_clip=1.0)
    group = comfy.hooks.HookGroup()
    group.add(hook)
    hook.weights_clip = {name: (0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(2)),)}
    hook.need_weight_init = False
    keyframes = comfy.hooks.HookKeyframeGroup()
    keyframes.add(comfy.hooks.HookKeyframe(strength=1.0, start_percent=0.0))
    keyframes.add(comfy.hooks.HookKeyframe(strength=0.2, start_percent=0.5))
    group.set_keyframes_on_hooks(keyframes)
    scheduled = host.call(
        hooks_module.SetClipHooks, clip=meaningful, schedule_clip=True, apply_to_conds=True, hooks=group
    )[0]
    stock = host.call(host.base_nodes.CLIPTextEncode, clip=scheduled, text=PROMPT)[0]
    positive, safe, risk, _ = encode(scheduled)
    assert len(stock) > 1 and len(safe) == len(positive) == len(stock) and risk >= 0.5
    for (states, extra), (safe_states, safe_extra), (stock_states, _) in zip(positive, safe, stock, strict=True):
        assert torch.equal(states, stock_states) and not torch.equal(states, safe_states)
        assert {k: v for k, v in extra.items() if k.startswith("clip_")} == {
            k: v for k, v in safe_extra.items() if k.startswith("clip_")
        }


@pytest.mark.parametrize("texts", [("a cat on a table", PROMPT), (PROMPT, "a cat on a table"), (PROMPT, "")])
def test_one_unsafe_entry_of_several_is_enough(encode, meaningful, monkeypatch, texts):
    """The highest risk is the prompt's, its words are named, and no entry with words stays as it was."""
    each = [context_encode._encode_prompt(meaningful, text) for text in texts]
    positive, encodings = sum((e.positive for e in each), []), sum((list(e.encodings) for e in each), [])
    entries = context_encode.EncodedPrompt(meaningful, positive, encodings)
    monkeypatch.setattr(context_encode, "_encode_prompt", lambda clip, prompt: entries)
    space = context_encode.space_of(meaningful, CONCEPTS.split(", "))
    risks = dict(zip(texts, map(space.risk, encodings), strict=True))
    assert risks[PROMPT] >= 0.5 and risks.get("a cat on a table", 0.0) < 0.5 and risks.get("", 1.0) == 1.0
    _, safe, risk, verdict = encode(meaningful)
    assert risk == max(risks.values())
    assert "knife" in verdict["words"] and verdict["notes"] == []
    for text, (states, _), (safe_states, _) in zip(texts, positive, safe, strict=True):
        assert torch.equal(states, safe_states) == (text == "")


def test_notes_are_of_the_prompt_as_a_whole(meaningful, monkeypatch):
    """One part that can tell is enough to measure by, and one entry with words is enough to be measured."""
    tells, blind = Calibration(10.0, 0.5, 0.97), Calibration(0.0, 0.0, 0.6)
    words, empty = (SimpleNamespace(parts=(1, 2), content=torch.tensor([c, False])) for c in (True, False))

    def notes(calibration, *encodings):
        space = SimpleNamespace(calibration=calibration, risk=lambda encoding: 0.7)
        monkeypatch.setattr(context_encode, "space_of", lambda clip, phrases: space)
        entries = context_encode.EncodedPrompt(meaningful, [], encodings)
        return " ".join(context_encode._assess(entries, ["weapon"], needs_space=True)[2])

    assert notes((tells, blind), words, empty) == notes((blind, tells), empty, words) == ""
    cannot = notes((blind, replace(blind, auc=0.7)), words)
    assert "can't tell" in cannot and "AUC 0.70" in cannot, "the best of the parts"
    assert "no words" in notes((tells, blind), empty, empty)


def test_concepts_joins_ticks_and_own_words(pack):
    concepts = pack.nodes["SafelightConcepts"]
    ticks = concepts.INPUT_TYPES()["required"]
    assert list(ticks) == ["hate", "harassment", "violence", "self_harm", "sexual", "shocking", "illegal_activity"]
    off = dict.fromkeys(ticks, False)
    assert host.call(concepts, **{**off, "violence": True}, own_words="spiders")[0] == (
        "violence, blood, brutality, cruelty, spiders"
    )
    assert host.call(concepts, **off)[0] == ""
    assert len(host.call(concepts, **dict.fromkeys(ticks, True))[0].split(", ")) == 20
