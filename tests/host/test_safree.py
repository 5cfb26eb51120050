"""SAFREE on the hosts: how its text part reads their encoders."""

from __future__ import annotations

import math

import comfy.model_management
import comfy.samplers
import host
import pytest
import tiny_encoders
import torch
from planted_words import LONG, PROMPT, counted, planted

from demo import world
from safelight.engine import safree_prompt, token_layout

CONCEPTS = "weapon, blood"


@pytest.fixture(scope="module", params=tiny_encoders.KNOWN_ROWS)
def clip(request):
    return tiny_encoders.clip(request.param)


def encode(clip, prompt):
    return host.call(host.base_nodes.CLIPTextEncode, clip=clip, text=prompt)[0]


# -- the text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a cat", "a cat and a knife on a green table", "knife " * 80])
def test_a_prompts_vector_is_the_pooled_output_before_its_projection(pack, prompt):
    clip = tiny_encoders.clip("SD1")
    tokens = token_layout.read_tokens(clip, prompt)
    vectors = safree_prompt.sentence_vectors(clip, tokens)[0, 0]
    pooled = encode(clip, prompt)[0][1]["pooled_output"]
    projection = clip.cond_stage_model.clip_l.transformer.text_projection.weight
    assert len(vectors) == len(tokens["l"]) == (2 if prompt.startswith("knife") else 1)
    assert torch.allclose(vectors[:1] @ projection.T, pooled, atol=1e-5)


@pytest.mark.parametrize("variant", ["as released", "as printed"])
@pytest.mark.parametrize("prompt", [PROMPT, "a (cat:1.4) and a (knife:0.6)", LONG], ids=["plain", "weighted", "long"])
def test_only_words_change_and_everything_else_is_the_hosts_own(pack, clip, prompt, variant):
    written = encode(clip, prompt)
    safe = safree_prompt.encode_safe(clip, prompt, CONCEPTS, variant)
    content = token_layout.describe(clip, token_layout.read_tokens(clip, prompt), *pair(written[0])).content
    changed = (safe.conditioning[0][0] != written[0][0])[0].any(dim=-1)
    assert safe.words and changed.any() and not (changed & ~content).any()
    assert torch.isfinite(safe.conditioning[0][0]).all()
    assert safe.conditioning[0][1].keys() == written[0][1].keys()
    assert all(same(value, safe.conditioning[0][1][key]) for key, value in written[0][1].items())
    assert (5 if variant == "as printed" else 0) <= safe.t <= (9 if variant == "as printed" else 10)


def same(one, other):
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def pair(entry):
    return entry[0], entry[1].get("pooled_output")


def test_masked_prompts_in_one_call_are_those_of_a_call_each(clip, monkeypatch):
    together = safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
    monkeypatch.setattr(safree_prompt, "_CHUNKS_PER_CALL", 1)
    with counted(clip) as calls:
        apart = safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
    assert together.words == apart.words and together.t == apart.t
    assert torch.allclose(together.conditioning[0][0], apart.conditioning[0][0], atol=1e-4)
    assert len(calls) >= 1 + 2 + len(PROMPT.split())  # the prompt, two concepts, each word masked


def test_a_prompt_costs_few_calls_where_chunks_go_together():
    clip = tiny_encoders.clip("SDXL")
    for expected in (5, 3):  # whether single rows are single words is asked once
        with counted(clip) as calls:
            safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")
        assert len(calls) == expected


def test_a_masked_prompt_has_token_0_in_the_words_place_and_no_weights():
    clip = tiny_encoders.clip("SD1")
    with counted(clip) as calls:
        safree_prompt.encode_safe(clip, "a (cat:1.4)", CONCEPTS, "as released")
    cat = [token for token, *_ in clip.tokenize("a cat")["l"][0]]
    assert calls[-1]["l"] == [[(0 if i == masked else token, 1.0) for i, token in enumerate(cat)] for masked in (1, 2)]


def test_encoders_side_by_side_are_read_by_their_own_tokens(monkeypatch):
    """As with a textual inversion that only one of them knows."""
    clip = tiny_encoders.clip("SDXL")
    tokenize = clip.tokenize
    one = safree_prompt.encode_safe(clip, "cat", CONCEPTS, "as released").conditioning[0][0]
    monkeypatch.setattr(
        clip,
        "tokenize",
        lambda words, **options: {
            "l": tokenize(words, **options)["l"],
            "g": tokenize(words.split()[0], **options)["g"],
        },
    )
    safe = safree_prompt.encode_safe(clip, "cat and a knife", CONCEPTS, "as released").conditioning[0][0]
    written = encode(clip, "cat and a knife")[0][0]
    changed = (safe != written)[0, :, tiny_encoders.L :].any(dim=-1)
    assert changed.nonzero().flatten().tolist() == [1]  # G's one word
    assert torch.allclose(safe[0, :, tiny_encoders.L :], one[0, :, tiny_encoders.L :], atol=1e-5)


def test_the_planted_word_is_a_trigger():
    clip = planted(tiny_encoders.clip("SD1"))
    assert "knife" in safree_prompt.encode_safe(clip, "a cat and a knife", CONCEPTS, "as released").words


def test_every_chunk_of_a_long_prompt_is_read():
    clip = planted(tiny_encoders.clip("SD1"))
    far = safree_prompt.encode_safe(clip, "a cat " * 40 + "and a knife", CONCEPTS, "as released")
    assert "knife" in far.words
    # The first chunk, of 75 tokens, is a prompt by itself: what stands behind it changes nothing in it.
    other = safree_prompt.encode_safe(clip, "a cat " * 40 + "and a dog", CONCEPTS, "as released")
    assert torch.equal(far.conditioning[0][0][:, :76], other.conditioning[0][0][:, :76])


def test_a_weight_scales_what_is_taken_from_a_trigger():
    clip = planted(tiny_encoders.clip("SD1"))
    written, safe = {}, {}
    for weight in (1.0, 0.5):
        prompt = f"a cat and a (knife:{weight})"
        written[weight] = encode(clip, prompt)[0][0]
        safe[weight] = safree_prompt.encode_safe(clip, prompt, CONCEPTS, "as released")
    knife = 5  # start, a, cat, and, a, knife
    taken = {weight: (written[weight] - safe[weight].conditioning[0][0])[0, knife] for weight in written}
    assert taken[1.0].norm() > 0.1 and torch.allclose(taken[0.5], 0.5 * taken[1.0], atol=1e-5)


def test_a_single_word_is_a_trigger_and_no_words_are_none(clip):
    assert safree_prompt.encode_safe(clip, "cat", CONCEPTS, "as released").words
    empty = safree_prompt.encode_safe(clip, "", CONCEPTS, "as released")
    assert empty.words == () and "no words" in empty.notes[0]
    assert torch.equal(empty.conditioning[0][0], encode(clip, "")[0][0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"concepts": " , "}, "^concepts: expected words .*, got an empty list"),
        ({"concepts": "word " * 100}, "^concepts: .*too long"),
        ({"variant": "as rumoured"}, "^variant: unknown variant 'as rumoured'"),
    ],
)
def test_what_can_not_be_read_is_an_error(inputs, message):
    given = {"prompt": PROMPT, "concepts": CONCEPTS, "variant": "as released", **inputs}
    with pytest.raises(ValueError, match=message):
        safree_prompt.encode_safe(tiny_encoders.clip("SD1"), **given)


def test_no_encoder_and_one_whose_rows_are_not_single_words_are_errors():
    for clip in (None, *map(tiny_encoders.clip, tiny_encoders.UNKNOWN_ROWS)):
        with pytest.raises(ValueError, match="^clip: "):
            safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")


@pytest.mark.parametrize("word", ["knife", "weapon"])
def test_values_that_are_not_numbers_are_an_error(word):
    clip = tiny_encoders.clip("SD1")
    table = clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    table[clip.tokenize(word)["l"][0][1][0]] = math.nan
    with pytest.raises(ValueError, match="^clip: .*finite"):
        safree_prompt.encode_safe(clip, PROMPT, CONCEPTS, "as released")


def test_encoding_can_be_interrupted():
    comfy.model_management.interrupt_current_processing(True)
    try:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  its class has another place and base on each host
            safree_prompt.encode_safe(tiny_encoders.clip("SD1"), PROMPT, CONCEPTS, "as released")
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert type(caught.value).__name__ == "InterruptProcessingException"


def test_context_encode_hands_the_prompts_text_on(pack):
    clip = tiny_encoders.clip("SD1")
    out = host.call(pack.nodes["SafelightContextEncode"], clip=clip, prompt=" a (cat:1.2), a knife ", concepts=CONCEPTS)
    assert out[3] == " a (cat:1.2), a knife "


# -- the demo model ---------------------------------------------------------------------------------------------------


def test_demo_most_unsafe_things_are_triggers(pack):
    clip = host.call(pack.nodes["SafelightDemoLoader"])[1]
    found = []
    for noun in (thing.noun for thing in world.UNSAFE):
        prompt = f"{world.article(noun)} and a cat on a green background"
        words = safree_prompt.encode_safe(clip, prompt, world.CONCEPTS, "as released").words
        found.append(any(word in words for word in noun.split() if word != "of"))
    assert sum(found) >= 0.6 * len(found)
