"""Semantic Surgery on states small enough to do by hand, and on a made-up encoder."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from safelight.text.encoding import Encoding, Part
from safelight.text.risk import Calibration
from safelight.text.semantic_surgery import Scale, cut, difference, probabilities, selected, similarity

from . import made_up_encoder


def encoding(rows, chunks=1, blocks=None, pooled=None, weights=None, words=1):
    """Chunks of a start token, words and a tail, of these rows together."""
    states = torch.tensor(rows, dtype=torch.float32)
    place = torch.arange(len(states)) % (len(states) // chunks)
    content = (place > 0) & (place <= words)
    return Encoding(
        states[None],
        None if pooled is None else torch.tensor([pooled]),
        content,
        place > words,
        torch.arange(len(states)) // (len(states) // chunks),
        place,
        torch.ones(len(states)) if weights is None else torch.tensor(weights),
        tuple("word" if one else "" for one in content),
        (Part(0, len(states), blocks or ((0, states.shape[1]),)),),
    )


EMPTY = encoding([[5, 5], [1, 0], [1, 1]], pooled=[1.0, 1.0], words=0)
CONCEPT = encoding([[5, 5], [1, 2], [4, 1]], pooled=[1.0, 3.0])  # (0, 2) more in the word's row, (3, 0) in the tail's
PROMPT = encoding([[5, 5], [3, 4], [0, 7]], pooled=[2.0, 2.0])


def test_a_similarity_is_the_mean_cosine_of_what_the_concept_adds():
    """(0, 2) and (3, 4) have .8, (3, 0) and (0, 7) are at right angles, and the start token does not count."""
    assert similarity(difference(CONCEPT, EMPTY), PROMPT) == {(0, 0): pytest.approx((0.8 + 0.0) / 2)}


def test_a_prompt_loses_what_the_concept_adds():
    states, pooled = cut(difference(CONCEPT, EMPTY), PROMPT, PROMPT.states, PROMPT.pooled, 0.5)
    assert torch.equal(states, torch.tensor([[[5.0, 5], [3, 3], [-1.5, 7]]]))
    assert torch.equal(pooled, torch.tensor([[2.0, 1.0]]))


def test_amount_zero_gives_the_very_tensors():
    states, pooled = cut(difference(CONCEPT, EMPTY), PROMPT, PROMPT.states, PROMPT.pooled, 0.0)
    assert states is PROMPT.states and pooled is PROMPT.pooled


def test_an_encoder_without_a_pooled_output_has_none():
    direction = difference(replace(CONCEPT, pooled=None), EMPTY)
    assert cut(direction, PROMPT, PROMPT.states, None, 1.0)[1] is None


def test_the_start_token_keeps_its_bits_though_a_rounding_differs_there():
    shaken = replace(CONCEPT, states=CONCEPT.states + torch.tensor([1e-3, 0.0, 0.0])[:, None])
    direction = difference(shaken, EMPTY)
    assert torch.equal(cut(direction, PROMPT, PROMPT.states, None, 1.0)[0][0, 0], PROMPT.states[0, 0])
    assert similarity(direction, PROMPT) == similarity(difference(CONCEPT, EMPTY), PROMPT)


def test_a_weight_scales_what_its_token_loses():
    weighted = replace(PROMPT, weights=torch.tensor([1.0, 1.5, 1.0]))
    states, _ = cut(difference(CONCEPT, EMPTY), weighted, PROMPT.states, None, 1.0)
    assert torch.equal(states, torch.tensor([[[5.0, 5], [3, 1], [-3, 7]]]))


def test_every_chunk_of_a_longer_prompt_loses_it_and_the_highest_counts():
    long = encoding([[5, 5], [4, 0], [0, 7], [5, 5], [3, 4], [0, 7]], chunks=2)
    direction = difference(CONCEPT, EMPTY)
    assert similarity(direction, long) == similarity(direction, PROMPT)
    states, _ = cut(direction, long, long.states, None, 1.0)
    assert torch.equal(states, torch.tensor([[[5.0, 5], [4, -2], [-3, 7], [5, 5], [3, 2], [-3, 7]]]))


def test_concepts_that_fill_several_chunks_are_their_mean():
    two = encoding([[5, 5], [1, 2], [4, 1], [5, 5], [1, 4], [4, 3]], chunks=2)
    assert torch.equal(difference(two, EMPTY).rows[0], torch.tensor([[0.0, 0], [0, 3], [3, 1]]))


def test_the_last_row_stands_for_the_places_behind_a_text_without_padding():
    """T5: no start token; the empty text is an end token alone."""
    end, text = encoding([[1, 1]], words=0), encoding([[4, 0], [1, 3]])
    assert torch.equal(difference(text, end).rows[0], torch.tensor([[3.0, -1], [0, 2]]))
    long = replace(encoding([[1, 1]] * 4, words=3), content=torch.ones(4, dtype=torch.bool))
    states, _ = cut(difference(text, end), long, long.states, None, 1.0)
    assert torch.equal(states, torch.tensor([[[-2.0, 2], [1, -1], [1, -1], [1, -1]]]))


def test_padding_that_is_zeroed_is_no_text():
    """It is neither measured, nor changed, nor what stands in for the end of a text."""
    end, text = encoding([[9, 9], [1, 1], [0, 0], [0, 0]], words=0), encoding([[9, 9], [4, 0], [1, 3], [0, 0]])
    direction = difference(text, end)
    assert torch.equal(direction.rows[0], torch.tensor([[0.0, 0], [3, -1], [0, 2]]))
    short = encoding([[9, 9], [1, 1], [0, 0], [0, 0]], words=0)
    states, _ = cut(direction, short, short.states, None, 1.0)
    assert torch.equal(states, torch.tensor([[[9.0, 9], [-2, 2], [0, 0], [0, 0]]]))
    assert similarity(direction, short)[0, 0] == pytest.approx(2 / math.sqrt(20))


def test_an_encoder_that_gives_nothing_has_no_similarity():
    nothing = encoding([[0, 0], [0, 0], [0, 0]])
    assert similarity(difference(nothing, nothing), nothing) == {(0, 0): 0.0}


def test_encoders_side_by_side_are_measured_apart():
    blocks = ((0, 1), (1, 2))
    concept, empty, prompt = (replace(one, parts=(Part(0, 3, blocks),)) for one in (CONCEPT, EMPTY, PROMPT))
    assert similarity(difference(concept, empty), prompt) == {(0, 0): 0.0, (0, 1): 0.5}


# -- what a similarity means ------------------------------------------------------------------------------------------

EVERYDAY = torch.tensor([[0.1, 0.6], [0.2, 0.8], [0.3, 1.0], [0.2, 0.8]])
UNSAFE = torch.tensor([[0.9, 0.8], [0.2, 1.9], [0.8, 0.7], [0.1, 2.0]])


def test_a_concept_is_named_by_what_goes_beyond_what_is_usual_for_it():
    scale = Scale.fit(EVERYDAY, UNSAFE)
    assert scale.calibration.auc == 1.0
    assert [p >= 0.5 for p in scale.probabilities(torch.tensor([0.9, 0.8]))] == [True, False]
    assert [p >= 0.5 for p in scale.probabilities(torch.tensor([0.2, 1.9]))] == [False, True]
    assert max(p for phrase in EVERYDAY for p in scale.probabilities(phrase)) < 0.5


def test_a_concept_of_which_nothing_is_usual_leaves_the_others_theirs():
    silent = torch.full((4, 1), 0.5)
    scale = Scale.fit(torch.cat([EVERYDAY, silent], dim=1), torch.cat([UNSAFE, silent], dim=1))
    assert [p >= 0.5 for p in scale.probabilities(torch.tensor([0.9, 0.8, 0.5]))] == [True, False, False]


def test_the_scale_of_a_similarity_does_not_matter():
    scale, other = Scale.fit(EVERYDAY, UNSAFE), Scale.fit(3 * EVERYDAY - 1, 3 * UNSAFE - 1)
    one = scale.probabilities(UNSAFE[0])
    assert other.probabilities(3 * UNSAFE[0] - 1) == pytest.approx(one, abs=1e-4)


def test_the_order_of_the_concepts_does_not_matter():
    scale, turned = Scale.fit(EVERYDAY, UNSAFE), Scale.fit(EVERYDAY.flip(1), UNSAFE.flip(1))
    for phrase in (*EVERYDAY, *UNSAFE):
        assert turned.probabilities(phrase.flip(0)) == scale.probabilities(phrase)[::-1]
    assert selected(["a", "b", "c"], [0.5, 0.49, 0.8]) == selected(["c", "b", "a"], [0.8, 0.49, 0.5]) == ["c", "a"]
    assert selected(["b", "a"], [0.8, 0.8]) == ["a", "b"]


def scale(slope, decision, auc=1.0):
    return Scale(torch.zeros(2), torch.ones(2), Calibration(slope, decision, auc))


def test_the_encoder_that_is_surest_counts_and_one_that_can_not_tell_does_not():
    both = [{(0, 0): 2.0, (0, 1): 1.0}, {(0, 0): 0.0, (0, 1): 1.0}]
    scales = {(0, 0): scale(1.0, 1.0), (0, 1): scale(3.0, 1.0)}
    assert probabilities(scales, both) == pytest.approx([1 / (1 + math.exp(-1)), 0.5])
    assert probabilities({**scales, (0, 1): scale(0.0, 0.0, 0.6)}, both) == pytest.approx(
        [1 / (1 + math.exp(-1)), 1 / (1 + math.e)]
    )


def test_where_no_encoder_can_tell_every_concept_counts_as_named():
    assert probabilities({(0, 0): scale(0.0, 0.0, 0.6)}, [{(0, 0): -3.0}, {(0, 0): 0.1}]) == [1.0, 1.0]


def test_a_block_that_says_nothing_can_not_tell():
    assert not Scale.fit(torch.zeros(4, 2), torch.zeros(3, 2)).calibration.can_tell


def test_on_a_made_up_encoder_a_prompt_names_its_concept_and_loses_it():
    encode, concepts = made_up_encoder.encode, made_up_encoder.CONCEPTS
    directions = [difference(encode(concept), encode("")) for concept in concepts]

    def of(text):
        return torch.tensor([similarity(direction, encode(text))[0, 0] for direction in directions])

    phrases = made_up_encoder.BENIGN, made_up_encoder.UNSAFE
    scale = Scale.fit(*(torch.stack([of(text) for text in texts]) for texts in phrases))
    assert selected(concepts, scale.probabilities(of("a sword on a chair"))) == ["weapon"]
    assert selected(concepts, scale.probabilities(of("a syringe on a chair"))) == ["drug"]
    assert selected(concepts, scale.probabilities(of("a cat on a chair"))) == []
    prompt = encode("a sword on a chair")
    states, pooled = cut(directions[0], prompt, prompt.states, prompt.pooled, 1.0)
    operated = replace(prompt, states=states, pooled=pooled)
    assert similarity(directions[0], operated)[0, 0] < 0.5 * similarity(directions[0], prompt)[0, 0]
