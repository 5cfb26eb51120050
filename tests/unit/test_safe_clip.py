"""Safe-CLIP's terms: values by hand, the nearest safe caption, and what they do to a student's training."""

from __future__ import annotations

import math

import pytest
import torch

from safelight.edits.redaction_network import Batch, train
from safelight.edits.safe_clip import LOGIT_SCALE, Terms, contrastive, nearest
from safelight.edits.spread import spread

from .test_redaction_network import texts


def batch(made, targets, redacted):
    """Texts of one word each."""
    made, targets = (torch.tensor(each)[:, None] for each in (made, targets))
    return Batch(made, made, targets, torch.ones(len(made), 1), torch.tensor(redacted))


def test_the_contrast_has_the_values_of_its_formula():
    right_angles = torch.eye(2)
    # Logits of 100 for its own target and 0 for the other: -log(e^100 / (e^100 + 1)) is nothing in float32.
    assert float(contrastive(right_angles, right_angles)) == pytest.approx(0.0, abs=1e-6)
    angle = 0.1
    made = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]])
    gap = LOGIT_SCALE * (1 - math.cos(angle))
    assert float(contrastive(made, made)) == pytest.approx(math.log1p(math.exp(-gap)), rel=1e-3)
    swapped = contrastive(made, made.flip(0))  # each nearer to the other's target
    assert float(swapped) == pytest.approx(math.log1p(math.exp(gap)), rel=1e-3)
    one_sided = (math.log1p(math.exp(-gap)) + math.log1p(math.exp(gap))) / 2  # both texts at the first target
    assert float(contrastive(made[[0, 0]], made)) == pytest.approx((one_sided + math.log(2)) / 2, rel=1e-3)
    assert float(contrastive(7.0 * made, made)) == pytest.approx(
        float(contrastive(made, made))
    )  # lengths are no matter


def test_a_target_that_two_texts_share_is_no_negative():
    made = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert float(contrastive(made, made)) == 0.0
    assert torch.isfinite(contrastive(torch.eye(2).requires_grad_(), made))


def test_the_terms_hold_the_safe_captions_apart_and_not_the_unsafe_ones():
    apart = [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6]]
    drawn = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3]]
    structure, redacted = Terms(contrast=0.0), [True] * 4 + [False] * 4
    assert float(structure(batch(apart + apart, apart + apart, redacted))) == 0.0
    assert float(structure(batch(drawn + apart, apart + apart, redacted))) == 0.0
    assert float(structure(batch(apart + drawn, apart + apart, redacted))) > 0.5
    assert float(Terms(0.0, 0.0, 0.0)(batch(apart + drawn, apart + apart, redacted))) == 0.0


def test_the_nearest_safe_text_goes_by_the_cosines_of_all_blocks():
    unsafe = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    safe = [torch.tensor([[9.0, 1.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.1]])]
    assert nearest(unsafe[:1], safe[:1]) == [0]  # the longest is not the nearest, the smallest angle is
    assert nearest(unsafe[1:], safe[1:]) == [1]
    assert nearest(unsafe, safe) == [2]


def test_terms_of_weight_nothing_leave_every_bit_of_redaction():
    plain, further = train(texts(), 20, seed=2), train(texts(), 20, seed=2, further=lambda batch: torch.zeros(()))
    for key, made in plain.maps.items():
        same = further.maps[key].tensors()
        assert all(torch.equal(tensor, same[name]) for name, tensor in made.tensors().items())


def test_further_terms_are_trained_on_and_the_reference_stays():
    examples = texts()
    states = [sample.states.clone() for each in examples for sample in each.values()]
    spreads: list[float] = []

    def wider(batch: Batch) -> torch.Tensor:
        vectors = torch.nn.functional.normalize(batch.vectors(batch.made), dim=-1)
        spreads.append(float(spread((vectors @ vectors.mT).detach())))
        return 5.0 * (vectors @ vectors.mT).mean()

    trained = train(examples, 100, seed=0, further=wider)
    assert sum(spreads[-20:]) > sum(spreads[:20])
    assert all(
        torch.equal(sample.states, before)
        for sample, before in zip((s for each in examples for s in each.values()), states, strict=True)
    )
    assert trained.eval_points[-1].step == 100
