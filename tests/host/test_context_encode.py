"""SafelightContextEncode by its text methods, and SafelightConcepts, on the host's own text encoders."""

from __future__ import annotations

import json
import math
import re

import host
import pytest
import tiny_encoders
import torch
from planted_words import CONCEPTS, LONG, PROMPT, copied, counted, same, scheduled, stock

from safelight.text.inherit import HARMLESS, ROWS

UNSAFE = {  # "knife" is all that is unsafe in them
    "plain": PROMPT,
    "weighted": "a (cat:1.4) and a (knife:0.6) on a ((green)) table",
    "line breaks": "a cat\nand a knife\n\non a  green table\n",
    "embedding": "a cat, embedding:missing, and a knife on a table",
    "choice": "{a cat|a knife} on a table",
    "lora": "a cat and a knife <lora:knife_v1:0.8>",
    "long": LONG,
}
HARMLESS_TEXTS = {
    "plain": "a cat on a green table",
    "weighted": "a (cat:1.4) on a table",
    "line breaks": "a cat\n\non a table\n",
    "empty": "",
    "long": "a cat " * 40,
}
SAFE = "a cat and a spoon on a green table"
FORMS = list(tiny_encoders.FORMS)


@pytest.fixture(scope="module", params=FORMS)
def clip(request):
    return tiny_encoders.clip(request.param)


@pytest.fixture(scope="module")
def plain():
    return tiny_encoders.clip("SD1")


@pytest.fixture
def encode(pack):
    """A call of the node: (positive, safe, risk, what it tells the artist)."""

    def run(clip, prompt=PROMPT, **inputs):
        found = pack.nodes["SafelightContextEncode"]().encode(clip, prompt, **{"concepts": CONCEPTS, **inputs})
        return *found["result"][:3], json.loads(found["ui"]["safelight_verdict"][0])

    return run


def unmarked(conditioning):
    return [[states, {k: v for k, v in extra.items() if k != HARMLESS}] for states, extra in conditioning]


def is_marked(conditioning):
    marks = {extra.get(HARMLESS, False) for _, extra in conditioning}
    assert len(marks) == 1, "all entries or none"
    return marks == {True}


@pytest.mark.parametrize("text", list(UNSAFE.values()), ids=list(UNSAFE))
def test_the_unsafe_word_is_replaced_and_the_rest_stays_to_the_sign(encode, plain, text):
    *_, risk, verdict = encode(plain, text)
    assert risk >= 0.5 and verdict["risk"] == pytest.approx(risk, abs=1e-4)
    assert verdict["safe_prompt"] == re.sub(r"\bknife\b", "spoon", text)
    assert (verdict["method"], verdict["words"], verdict["changes"]) == ("rewrite", ["knife"], ["spoon"])


@pytest.mark.parametrize("text", [UNSAFE["weighted"], UNSAFE["line breaks"], UNSAFE["embedding"], LONG])
@pytest.mark.parametrize("method", ["rewrite", "typed"])
def test_positive_and_safe_are_the_hosts_own_encodings_of_prompt_and_safe_prompt(encode, clip, text, method):
    expected = stock(clip, text)
    typed = {"safe_prompt": "a (dog:0.7)\non a chair"} if method == "typed" else {}
    positive, safe, risk, verdict = encode(clip, text, method=method, **typed)
    assert same(positive, expected) and same(safe, stock(clip, verdict["safe_prompt"]))
    assert verdict["safe_prompt"] == typed.get("safe_prompt", text.replace("knife", "spoon"))
    assert risk >= 0.5 and not is_marked(safe) and not same(positive, safe)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("typed", ["", "a dog"], ids=["rewrite", "typed"])
def test_two_calls_of_a_new_encoder_are_all_that_a_safe_prompt_costs(encode, form, typed):
    new = tiny_encoders.clip(form)
    for text in (PROMPT, UNSAFE["weighted"], LONG):
        with counted(new) as calls:
            encode(new, text, safe_prompt=typed)
        assert len(calls) == 2, text


@pytest.mark.parametrize("text", list(HARMLESS_TEXTS.values()), ids=list(HARMLESS_TEXTS))
def test_a_prompt_with_nothing_unsafe_costs_one_call_and_is_its_own_safe_prompt(encode, clip, text):
    expected = stock(clip, text)
    with counted(clip) as calls:
        positive, safe, risk, verdict = encode(clip, text)
    assert len(calls) == 1 and same(positive, expected) and same(unmarked(safe), expected)
    assert is_marked(safe) and not is_marked(positive), "by which a sampler knows that this is meant"
    assert risk < 0.5 and (verdict["safe_prompt"], verdict["words"], verdict["changes"]) == (text, [], [])
    assert any("Nothing unsafe was found" in note for note in verdict["notes"])


def test_a_typed_safe_prompt_is_never_marked_as_harmless(encode, plain):
    """That the artist typed the prompt itself isn't known to be harmless, and the verdict says so."""
    for text in ("a cat", PROMPT):
        _, safe, _, verdict = encode(plain, text, safe_prompt=text)
        assert not is_marked(safe) and any("would guard nothing" in note for note in verdict["notes"])


def test_auto_takes_the_typed_safe_prompt_where_there_is_one(encode, plain):
    assert encode(plain, method="auto")[3]["method"] == "rewrite"
    assert encode(plain, method="auto", safe_prompt=" \n")[3]["method"] == "rewrite"
    assert encode(plain, method="auto", safe_prompt="a dog")[3]["method"] == "typed"
    _, safe, _, verdict = encode(plain, method="rewrite", safe_prompt="a dog")
    assert verdict["safe_prompt"] == SAFE and same(safe, stock(plain, SAFE)), "what is chosen holds"


def test_the_risk_is_that_of_safelight_prompt(pack, encode, plain):
    for text in (PROMPT, "a cat on a table", LONG):
        for concepts in (CONCEPTS, "spiders"):
            read = pack.nodes["SafelightPrompt"]().read(text, concepts=concepts)["result"]
            *_, risk, verdict = encode(plain, text, concepts=concepts)
            assert (risk, verdict["safe_prompt"]) == (read[2], read[1])
            assert encode(plain, text, safe_prompt="a dog", concepts=concepts)[2] == risk


def test_only_what_the_concepts_name_is_unsafe(encode, plain):
    _, safe, risk, verdict = encode(plain, concepts="spiders")
    assert risk < 0.5 and is_marked(safe) and verdict["words"] == []


def test_the_artists_own_stand_ins_go_first(encode, plain):
    _, safe, _, verdict = encode(plain, stand_ins="knife = umbrella\ncat =")
    assert "umbrella" in verdict["safe_prompt"] and "spoon" not in verdict["safe_prompt"]
    assert same(safe, stock(plain, verdict["safe_prompt"]))


def test_more_false_alarms_find_no_less(encode, plain):
    text = "a man beats another man in the street"
    risks = [encode(plain, text, false_alarms=share, concepts="violence")[2] for share in (0.01, 0.03, 0.1)]
    assert risks == sorted(risks) and risks[0] < risks[-1]


def test_a_prompt_in_another_language_needs_a_typed_safe_prompt(encode, plain):
    with counted(plain) as calls, pytest.raises(ValueError, match="^prompt: expected English.*safe_prompt"):
        encode(plain, "кошка с ножом на столе")
    assert not calls, "nothing is encoded in vain"
    positive, safe, risk, verdict = encode(plain, "кошка с ножом на столе", safe_prompt="кошка на столе")
    assert same(positive, stock(plain, "кошка с ножом на столе")) and same(safe, stock(plain, "кошка на столе"))
    assert risk == 1.0 and any("risk is 1" in note for note in verdict["notes"])


def test_words_that_the_encoder_does_not_know_are_named_and_no_stand_in_is_one(encode):
    knows_few = tiny_encoders.clip("SD1")
    knows_few.tokenizer.safelight_knows = {"a", "cat", "and", "knife", "on", "table", "fork", "cup"}.__contains__
    verdict = encode(knows_few)[3]
    assert any("does not know green" in note for note in verdict["notes"])
    assert "knife" not in verdict["safe_prompt"].split() and "spoon" not in verdict["safe_prompt"].split()


def test_a_linked_vector_that_is_not_used_is_said_to_be(pack, encode, plain):
    vector = host.call(
        pack.nodes["SafelightConceptVector"], clip=plain, unsafe_prompts="a knife", safe_prompts="a cat"
    )[0]
    for inputs in ({"method": "rewrite"}, {"safe_prompt": "a dog"}):
        assert any("vector is not used" in note for note in encode(plain, vector=vector, **inputs)[3]["notes"])
    assert not any("vector" in note for note in encode(plain)[3]["notes"])


def test_earlier_results_never_change(encode, plain):
    first = encode(plain)
    kept = copied(first[0]), copied(first[1])
    encode(plain, "a sword and a gun"), encode(plain, "a cat on a table"), encode(plain, safe_prompt="a dog")
    assert same(first[0], kept[0]) and same(first[1], kept[1])
    again = encode(plain)
    assert same(again[1], kept[1]) and again[2] == first[2]


def test_every_entry_of_a_scheduled_encoder_has_its_rewritten_one(encode, plain):
    """A LoRA on the encoder that changes over the run gives a CONDITIONING of several entries."""
    changing = scheduled(plain)
    expected = stock(changing, PROMPT), stock(changing, SAFE)
    positive, safe, *_ = encode(changing)
    assert len(positive) == len(safe) > 1
    for found, wanted in zip((positive, safe), expected, strict=True):
        for (states, extra), (other, other_extra) in zip(found, wanted, strict=True):
            assert torch.equal(states, other) and extra.keys() - {ROWS} == other_extra.keys()
    _, safe, *_ = encode(changing, "a cat on a table")
    assert len(safe) == len(positive) and is_marked(safe)


def test_states_of_a_form_that_is_not_known_make_no_difference(encode):
    clip = tiny_encoders.clip("SD1")
    model = clip.cond_stage_model
    original = model.encode_token_weights
    model.encode_token_weights = lambda tokens: (original(tokens)[0][None], *original(tokens)[1:])
    positive, safe, risk, verdict = encode(clip)
    assert risk >= 0.5 and verdict["method"] == "rewrite" and safe[0][0].ndim == 4
    assert not torch.equal(positive[0][0], safe[0][0])


@pytest.mark.parametrize("safe_prompt", ["", "a dog"])
def test_an_encoder_that_breaks_is_an_error(encode, safe_prompt):
    broken = tiny_encoders.clip("SD1")
    with torch.no_grad():
        broken.cond_stage_model.clip_l.transformer.text_model.final_layer_norm.weight.fill_(math.nan)
    with pytest.raises(ValueError, match="expected finite"):
        encode(broken, safe_prompt=safe_prompt)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"method": "typed", "safe_prompt": " \n"}, "safe_prompt"),
        ({"method": "rewrite", "concepts": ""}, "concepts"),
        ({"method": "auto", "concepts": " , "}, "concepts"),
        ({"method": "typed", "concepts": " , ", "safe_prompt": "a dog"}, "concepts"),
        ({"concepts": None}, "concepts"),
        ({"method": "erase"}, "method"),
        ({"strength": math.nan}, "strength"),
        ({"strength": -1.0}, "strength"),
        ({"false_alarms": math.nan}, "false_alarms"),
        ({"false_alarms": 0.0}, "false_alarms"),
        ({"false_alarms": 1.0}, "false_alarms"),
        ({"stand_ins": "knife"}, "stand_ins"),
        ({"stand_ins": 3}, "stand_ins"),
        ({"safe_prompt": None}, "safe_prompt"),
        ({"prompt": None}, "prompt"),
    ],
)
def test_what_cannot_guide_is_an_error_that_names_the_input(encode, plain, inputs, named):
    with counted(plain) as calls, pytest.raises(ValueError, match=f"^{named}:"):
        encode(plain, **inputs)
    assert not calls


def test_a_missing_encoder_is_an_error(encode):
    with pytest.raises(ValueError, match="^clip:"):
        encode(None)


def test_the_prompts_text_passes_on_as_it_is(pack, plain):
    for text in (UNSAFE["line breaks"], ""):
        assert pack.nodes["SafelightContextEncode"]().encode(plain, text)["result"][3] == text


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
