"""Concept vectors on the host's own text encoders: made, saved, loaded, taken away."""

from __future__ import annotations

import json

import pytest
import tiny_encoders
import torch
from planted_words import CONCEPTS, KNOWN_FORMS, LONG, PROMPT, copied, same, with_few_anchors

UNSAFE = "a knife on a table\na gun and a house\na sword on a chair"
SAFE = "a spoon on a table\na pen and a house\na book on a chair"


@pytest.fixture(scope="module", params=KNOWN_FORMS)
def clip(request):
    return with_few_anchors(tiny_encoders.clip(request.param))


@pytest.fixture(scope="module")
def sd1():
    return with_few_anchors(tiny_encoders.clip("SD1"))


@pytest.fixture
def make(pack):
    return lambda clip, unsafe=UNSAFE, safe=SAFE: pack.nodes["SafelightConceptVector"]().make(clip, unsafe, safe)[0]


@pytest.fixture
def encode(pack):
    """A call of the node: (positive, safe, risk, what it tells the artist)."""

    def run(clip, prompt=PROMPT, **inputs):
        found = pack.nodes["SafelightContextEncode"]().encode(clip, prompt, **{"concepts": CONCEPTS, **inputs})
        return *found["result"][:3], json.loads(found["ui"]["safelight_verdict"][0])

    return run


@pytest.fixture
def save(pack):
    """Saves an edit as the artist does; the file's name in the list."""
    return lambda edit, prefix="vector": pack.nodes["SafelightSaveEdit"]().save(edit, prefix)["result"][0]


def load(pack, file):
    return pack.nodes["SafelightLoadConceptVector"]().load(file)[0]


def states_of(clip, text):
    return clip.encode_from_tokens(clip.tokenize(text), return_pooled=True)


def mean_difference(clip, length):
    """[length, W]: of the states of the pairs' prompts, where both are as long."""
    pairs = zip(UNSAFE.splitlines(), SAFE.splitlines(), strict=True)
    return torch.stack([(states_of(clip, a)[0] - states_of(clip, b)[0])[0, :length] for a, b in pairs]).mean(dim=0)


def test_a_vector_is_the_mean_difference_of_the_hosts_own_states(make, sd1):
    pairs = list(zip(UNSAFE.splitlines(), SAFE.splitlines(), strict=True))
    both = [(states_of(sd1, a), states_of(sd1, b)) for a, b in pairs]
    found = make(sd1)
    assert found.kind == "concept vector"
    assert torch.allclose(found.tensors["states.0"], mean_difference(sd1, 77), atol=1e-6)
    pooled = torch.stack([a[1][0] - b[1][0] for a, b in both]).mean(dim=0)
    assert torch.allclose(found.tensors["pooled"], pooled, atol=1e-6)
    assert found.settings["pairs"] == [list(pair) for pair in pairs]


@pytest.mark.slow
def test_words_and_what_follows_them_lose_it_and_the_prompt_itself_stays(make, encode, clip):
    vector = make(clip)
    positive, safe, _, verdict = encode(clip, method="subtract", vector=vector)
    assert same(positive, encode(clip, method="subtract")[0]) and verdict["method"] == "subtract"
    away = positive[0][0] - safe[0][0]
    assert away.abs().max() > 1e-4
    assert torch.allclose(away[0], mean_difference(clip, len(away[0])), atol=1e-5)
    assert not same(safe, encode(clip, method="subtract")[1])


@pytest.mark.parametrize("form", tiny_encoders.UNKNOWN_ROWS)
def test_an_encoder_whose_rows_are_not_single_words_gets_an_error_that_says_what_to_do(make, encode, sd1, form):
    clip = with_few_anchors(tiny_encoders.clip(form))
    with pytest.raises(
        ValueError, match="^clip: expected .* single words .*for a concept vector, got one that .*Write"
    ):
        make(clip)
    with pytest.raises(ValueError, match="^clip: expected .* for the method 'subtract', got one that .*Choose"):
        encode(clip, vector=make(sd1))


def test_strength_zero_is_the_prompt_as_written(make, encode, clip):
    positive, safe, *_ = encode(clip, method="subtract", vector=make(clip), strength=0.0)
    assert same(positive, safe)


def test_twice_the_strength_takes_twice_as_much(make, encode, sd1):
    vector = make(sd1)
    positive, once, *_ = encode(sd1, method="subtract", vector=vector)
    twice = encode(sd1, method="subtract", vector=vector, strength=2.0)[1]
    assert torch.allclose(twice[0][0] - positive[0][0], 2 * (once[0][0] - positive[0][0]), atol=1e-5)


def test_every_chunk_of_a_long_prompt_loses_the_same_rows(make, encode, sd1):
    positive, safe, *_ = encode(sd1, "a cat " * 74, method="subtract", vector=make(sd1))
    away = (positive[0][0] - safe[0][0])[0].unflatten(0, (-1, 77))
    assert len(away) == 2 and away[0, 1:50].abs().max() > 0
    assert torch.allclose(away[0, 1:72], away[1, 1:72], atol=1e-5)


def test_auto_uses_a_vector_unless_a_safe_prompt_is_written(make, encode, sd1):
    vector = make(sd1)
    assert same(encode(sd1, vector=vector)[1], encode(sd1, method="subtract", vector=vector)[1])
    assert same(encode(sd1, vector=vector, safe_prompt="a cat")[1], encode(sd1, "a cat")[0])


@pytest.mark.parametrize(
    "inputs",
    [
        {"method": "project"},
        {"method": "rewrite"},
        {"method": "typed", "safe_prompt": "a cat"},
        {"safe_prompt": "a cat"},
    ],
)
def test_a_method_without_use_for_it_says_so_and_does_as_without_it(make, encode, sd1, inputs):
    _, safe, _, verdict = encode(sd1, vector=make(sd1), **inputs)
    assert any("vector is not used" in note for note in verdict["notes"])
    assert same(safe, encode(sd1, **inputs)[1])


def test_the_concepts_decide_the_risk_alone_and_some_are_needed(make, encode, sd1):
    vector = make(sd1)
    outcomes = [encode(sd1, vector=vector, concepts=concepts) for concepts in (CONCEPTS, "spiders")]
    assert outcomes[0][2] >= 0.5 > outcomes[1][2] and same(outcomes[0][1], outcomes[1][1])
    with pytest.raises(ValueError, match="^concepts: expected what counts as unsafe, got an empty list"):
        encode(sd1, vector=vector, concepts=" , ")


# -- files


def test_saved_and_loaded_it_does_the_same_bit_for_bit(pack, make, encode, save, clip):
    made = make(clip)
    file = save(made)
    assert file in pack.nodes["SafelightLoadConceptVector"].INPUT_TYPES()["required"]["file"][0]
    back = load(pack, file)
    assert back.kind == made.kind and back.settings == made.settings
    before, after = (encode(clip, LONG, method="subtract", vector=one)[1] for one in (made, back))
    assert same(before, after)


def test_a_file_of_another_kind_is_not_listed_and_an_error_names_both(pack, make, save, sd1):
    other = type(make(sd1))("erase", {"anything": torch.zeros(2)}, {})
    file = save(other, "other")
    node = pack.nodes["SafelightLoadConceptVector"]
    assert file not in node.INPUT_TYPES()["required"]["file"][0]
    with pytest.raises(ValueError, match=f"'concept vector'.*'erase' in {file}"):
        node().load(file)
    assert "erase" in node.VALIDATE_INPUTS(file)


# -- what can't be


def test_a_file_with_other_tensors_is_an_error_that_names_it(pack, make, save, sd1):
    made = make(sd1)
    file = save(type(made)(made.kind, {"pooled": torch.zeros(24)}, {}))
    with pytest.raises(ValueError, match=f"^file: expected a whole .*, got {file}. vector: .*states by position"):
        load(pack, file)


@pytest.mark.slow
def test_a_vector_of_another_text_encoder_is_an_error_that_names_both(make, encode, sd1):
    for form in ("SDXL", "SD3", "masked T5"):
        other = with_few_anchors(tiny_encoders.clip(form))
        with pytest.raises(
            ValueError, match="vector: .*this prompt's .*got one made with a text encoder of 24 columns"
        ):
            encode(other, method="subtract", vector=make(sd1))
        with pytest.raises(ValueError, match="vector: .*this prompt's text encoder of 24 columns"):
            encode(sd1, method="subtract", vector=make(other))


def test_an_edit_of_another_kind_is_an_error_that_names_both(make, encode, sd1):
    other = type(make(sd1))("redaction", {}, {})
    with pytest.raises(ValueError, match="^vector: expected .*'concept vector', got .*'redaction'"):
        encode(sd1, method="subtract", vector=other)
    with pytest.raises(ValueError, match="^vector: expected an edit"):
        encode(sd1, method="subtract", vector=3)


@pytest.mark.parametrize(
    ("unsafe", "safe", "named"),
    [
        ("", "", "^unsafe_prompts: expected prompts, got an empty"),
        ("a knife\na gun", "a spoon", "^safe_prompts: expected a line .*unsafe_prompts, got none for 'a gun'"),
        ("a knife", "a spoon\n\na pen", "^unsafe_prompts: expected a line .*safe_prompts, got none for 'a pen'"),
        ("a cat", "a cat", "unsafe_prompts: .*the same states"),
        ("a cat " * 40, "a dog", "unsafe_prompts: expected at most 77 tokens.*line 1"),
    ],
)
def test_pairs_that_make_no_vector_are_errors_that_name_the_input(make, sd1, unsafe, safe, named):
    with pytest.raises(ValueError, match=named):
        make(sd1, unsafe, safe)


def test_empty_lines_between_pairs_are_left_out(make, sd1):
    spread = make(sd1, UNSAFE.replace("\n", "\n\n"), SAFE.replace("\n", "\n \n"))
    assert torch.equal(spread.tensors["states.0"], make(sd1).tensors["states.0"])


def test_a_missing_encoder_is_an_error(make):
    with pytest.raises(ValueError, match="clip: "):
        make(None)


def test_prompts_and_what_is_linked_never_change(make, encode, sd1):
    vector = make(sd1)
    kept = {name: tensor.clone() for name, tensor in vector.tensors.items()}
    positive, safe, *_ = encode(sd1, method="subtract", vector=vector)
    before = copied(positive), copied(safe)
    encode(sd1, "a dog", method="subtract", vector=vector, strength=3.0)
    assert same(positive, before[0]) and same(safe, before[1])
    assert all(torch.equal(vector.tensors[name], tensor) for name, tensor in kept.items())
