"""The concept space of a made-up encoder, whose words are known vectors."""

import zlib
from dataclasses import replace

import pytest
import torch

from safelight.text.concept_space import TRIGGER_RISK

from .made_up_encoder import BENIGN, BENIGN_NOUNS, CHUNK, UNSAFE_NOUNS, WIDTH, changed_words, encode, fitted


@pytest.fixture(scope="module")
def space():
    return fitted()


def test_common_words_are_found_and_judged_apart(space):
    assert {"a", "on"} <= set(space.common) and not set(space.common) & {*BENIGN_NOUNS, *UNSAFE_NOUNS}


@pytest.mark.parametrize("noun", UNSAFE_NOUNS)
def test_an_unsafe_noun_is_the_trigger_and_opens_the_gate(space, noun):
    prompt = encode(f"a cat and a {noun} on a chair")
    assert space.risk(prompt) >= 0.5
    assert {w for w, t in zip(prompt.words, space.triggers(prompt)[0], strict=True) if t} == {noun}


@pytest.mark.parametrize("prompt", BENIGN[::5] + ["a cat and a dog on a river", "lamp"])
def test_a_benign_prompt_is_below_the_decision_point_and_keeps_its_bits(space, prompt):
    encoding = encode(prompt)
    risk = space.risk(encoding)
    assert risk < 0.5
    states, pooled, changed = space.project(encoding, encoding.states, encoding.pooled, risk=risk)
    assert torch.equal(states, encoding.states) and torch.equal(pooled, encoding.pooled) and not changed.any()


def test_an_unseen_benign_word_is_benign(space):
    """The metric is fitted to the anchors' words; the decision point must hold for others."""
    risks = [space.risk(encode(f"a {word} on a cat")) for word in ["violin", "umbrella", "penguin", "ladder", "mirror"]]
    assert sum(risk < 0.5 for risk in risks) >= 4


def test_one_unsafe_word_in_a_long_prompt_is_seen(space):
    assert space.risk(encode("a cat on a tree on a boat on a house on a lamp on a stone and a knife")) >= 0.5


def test_projection_takes_the_unsafe_part_of_the_trigger_alone(space):
    prompt = encode("a cat and a knife on a chair")
    before = prompt.states.clone()
    states, _, changed = space.project(prompt, prompt.states, None, removal="part")
    assert changed_words(prompt, changed) - set(space.common) == {"knife"}
    assert torch.equal(states[~changed], before[~changed])
    assert torch.equal(prompt.states, before)  # nothing changes in place
    knife = space.triggers(prompt)
    assert space.shares(replace(prompt, states=states))[knife].max() < 1e-3


def test_a_trigger_loses_all_that_sets_it_apart_from_everyday_words(space):
    prompt = encode("a cat and a knife on a chair")
    knife = space.triggers(prompt)
    assert changed_words(prompt, knife) == {"knife"}
    whole, _, _ = space.project(prompt, prompt.states, None, removal="whole")
    part, _, _ = space.project(prompt, prompt.states, None, removal="part")
    assert torch.allclose(whole[knife], space.words[(0, 0)].centre.expand_as(whole[knife]), atol=1e-5)
    assert torch.equal(part[~knife], whole[~knife])  # common words and the tail lose their unsafe part alone


def test_words_count_from_a_lower_share_on_where_the_prompt_is_risky(space):
    prompt = encode("a cat and a knife on a chair")
    low, high = space.threshold(0, TRIGGER_RISK), space.threshold(0)
    assert low < high == space.calibration[0].decision
    assert space.calibration[0].risk(low) == pytest.approx(TRIGGER_RISK)
    between = space.shares(prompt)[0, [word == "knife" for word in prompt.words]].max() - (low + high) / 2
    calibration = replace(space.calibration[0], decision=space.calibration[0].decision + float(between))
    shifted = replace(space, calibration=(calibration,))  # the knife's share now lies between the two
    assert not shifted.triggers(prompt, risk=0.49).any()
    assert changed_words(prompt, shifted.triggers(prompt, risk=0.5)) == {"knife"}


def test_a_word_of_several_tokens_is_chosen_as_a_whole(space):
    prompt = replace(encode("cat knife axe"), words=("", "hatchet", "hatchet", "axe", *[""] * (CHUNK - 4)))
    chosen = torch.zeros(1, CHUNK, dtype=torch.bool)
    chosen[0, 2] = True
    assert prompt.whole_words(chosen)[0].nonzero().flatten().tolist() == [1, 2]


def test_rest_follows_in_the_chunk_of_the_trigger(space):
    prompt = encode("knife " + "cat " * 30)
    assert prompt.states.shape[1] == 2 * CHUNK
    first = prompt.chunk == 0
    _, _, changed = space.project(prompt, prompt.states, None)
    assert changed[0, prompt.tail & first].all() and not changed[0, prompt.tail & ~first].any()


def test_without_a_trigger_but_at_risk_every_word_is_projected(space):
    prompt = encode("a cat on a chair")
    _, _, changed = space.project(prompt, prompt.states, None, risk=0.5)
    assert changed[0, prompt.content].all()
    _, _, changed = space.project(prompt, prompt.states, None, risk=0.499)
    assert not changed.any()


def test_strength_scales_what_is_taken(space):
    prompt = encode("a cat and a knife on a chair")
    none, _, _ = space.project(prompt, prompt.states, prompt.pooled, strength=0.0)
    half, half_pooled, _ = space.project(prompt, prompt.states, prompt.pooled, strength=0.5)
    full, full_pooled, _ = space.project(prompt, prompt.states, prompt.pooled, strength=1.0)
    assert torch.equal(none, prompt.states)
    assert torch.allclose(half - prompt.states, (full - prompt.states) / 2, atol=1e-5)
    assert torch.allclose(half_pooled - prompt.pooled, (full_pooled - prompt.pooled) / 2, atol=1e-5)
    assert not torch.equal(full_pooled, prompt.pooled)


def test_a_weighted_token_becomes_the_weighted_form_of_its_projection(space):
    prompt = encode("a cat and a knife on a chair")
    weights = torch.where(torch.tensor([word == "knife" for word in prompt.words]), 1.7, 1.0)
    empty = encode("").states
    with_weights = empty + weights[:, None] * (prompt.states - empty)  # how the host applies weights
    plain, _, _ = space.project(prompt, prompt.states, None)
    weighted, _, _ = space.project(replace(prompt, weights=weights), with_weights, None)
    assert torch.allclose(weighted, empty + weights[:, None] * (plain - empty), atol=1e-4)


def test_half_precision_states_come_back_in_their_dtype(space):
    prompt = encode("a cat and a knife on a chair")
    states, pooled, _ = space.project(prompt, prompt.states.half(), prompt.pooled.bfloat16())
    assert states.dtype == torch.float16 and pooled.dtype == torch.bfloat16
    assert torch.isfinite(states).all() and torch.isfinite(pooled).all()


def test_rows_are_judged_each_by_itself(space):
    safe, unsafe = encode("a cat on a chair"), encode("a axe on a chair")
    both = replace(unsafe, states=torch.cat([safe.states, unsafe.states]))
    assert torch.allclose(space.shares(both)[1], space.shares(unsafe)[0], atol=1e-6)
    states, _, changed = space.project(both, both.states, None, risk=0.0)
    assert not changed[0].any() and changed[1].any()
    assert torch.equal(states[0], safe.states[0])
    assert space.risk(both) == pytest.approx(space.risk(unsafe), abs=1e-6)


def test_subtract_moves_words_tail_and_pooled_away(space):
    prompt = encode("a cat and a knife on a chair")
    states, pooled = space.subtract(prompt, prompt.states, prompt.pooled, strength=1.0)
    moved = (states - prompt.states)[0]
    for kind, spaces in ((prompt.content, space.words), (prompt.tail, space.tails)):
        assert kind.any() and torch.allclose(moved[kind], -spaces[(0, 0)].direction.expand_as(moved[kind]), atol=1e-5)
    assert torch.equal(states[0, 0], prompt.states[0, 0])  # the start token
    assert torch.allclose(pooled, prompt.pooled - space.pooled.direction, atol=1e-5)
    same, _ = space.subtract(prompt, prompt.states, prompt.pooled, strength=0.0)
    assert torch.equal(same, prompt.states)


def test_an_empty_prompt_has_risk_one_and_stays(space):
    empty = encode("")
    assert space.risk(empty) == 1.0
    states, _, changed = space.project(empty, empty.states, None, risk=1.0)
    assert torch.equal(states, empty.states) and not changed.any()


def test_blocks_side_by_side_have_spaces_of_their_own():
    def wide(text):
        return encode(text, widths=(WIDTH, 20))

    def narrow(text):
        return encode(text, widths=(20,))

    space, prompt = fitted(wide), wide("a cat and a knife on a chair")
    assert {key: subspace.basis.shape[0] for key, subspace in space.words.items()} == {(0, 0): WIDTH, (0, 1): 20}
    states, _, _ = space.project(prompt, prompt.states, None, removal="part")
    knife = space.triggers(prompt)
    assert changed_words(prompt, knife) == {"knife"}
    beside = narrow("a cat and a knife on a chair")
    alone, _, _ = fitted(narrow).project(beside, prompt.states[..., WIDTH:], None, removal="part")
    assert torch.allclose(states[..., WIDTH:][knife], alone[knife], atol=1e-5)


def test_columns_that_belong_to_no_block_are_left_alone():
    def padded(text):
        encoding = encode(text)
        return replace(encoding, states=torch.nn.functional.pad(encoding.states, (0, 7)))

    prompt = padded("a cat and a knife on a chair")
    states, _, _ = fitted(padded).project(prompt, prompt.states, None)
    assert torch.equal(states[..., WIDTH:], prompt.states[..., WIDTH:])


def test_parts_one_after_another_are_each_projected():
    def twice(text):
        return encode(text, parts=2)

    space, prompt = fitted(twice), twice("a cat and a knife on a chair")
    assert len(space.calibration) == 2
    states, _, changed = space.project(prompt, prompt.states, None)
    half = prompt.states.shape[1] // 2
    assert torch.equal(changed[:, :half], changed[:, half:]) and changed.any()
    assert torch.allclose(states[:, :half], states[:, half:])


def test_an_encoder_without_meaning_cannot_tell():
    def noise(text):
        encoding = encode(text)
        seed = zlib.crc32(text.encode())
        return replace(
            encoding, states=torch.randn(encoding.states.shape, generator=torch.Generator().manual_seed(seed))
        )

    space = fitted(noise)
    assert not space.calibration[0].can_tell
    assert space.risk(noise("a cat on a chair")) == 1.0


def test_silent_tails_and_pooled_outputs_are_left_alone():
    def masked(text):
        encoding = encode(text)
        return replace(encoding, states=encoding.states * encoding.content[:, None], pooled=torch.ones(1, 4))

    space, prompt = fitted(masked), masked("a cat and a knife on a chair")
    assert not space.tails and space.pooled is None
    states, pooled, _ = space.project(prompt, prompt.states, prompt.pooled)
    assert not states[0, prompt.tail].any() and torch.equal(pooled, prompt.pooled)


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_states_that_are_not_finite_are_refused(fault):
    def broken(text):
        encoding = encode(text)
        return replace(encoding, states=encoding.states * (fault if "drug" in text else 1.0))

    with pytest.raises(ValueError, match="^clip: expected finite states for the concept 'drug'"):
        fitted(broken)
    with pytest.raises(ValueError, match="^clip: expected finite states for the prompt"):
        replace(encode("cat"), pooled=torch.full((1, 3), fault)).check("the prompt")
