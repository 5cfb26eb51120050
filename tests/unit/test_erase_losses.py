"""The losses of SafelightTrainErase: SDD, ESD, DUO, Forget-Me-Not."""

from __future__ import annotations

import math

import pytest
import torch

from safelight.edits import duo, forget_me_not, sdd


def made_up(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, 3, 3, generator=generator) for _ in range(count)]


def test_sdd_begins_with_the_distance_of_the_concept_from_no_text():
    empty, concept = made_up(2)

    loss = sdd.distance(concept, empty)

    assert float(loss) == pytest.approx(float((concept - empty).norm() ** 2 / concept.numel()))


def test_sdd_teaches_the_concept_and_not_the_target():
    empty, concept = (each.requires_grad_() for each in made_up(2))

    with torch.enable_grad():
        sdd.distance(concept, empty).backward()

    assert empty.grad is None
    assert torch.allclose(concept.grad, 2 * (concept - empty) / concept.numel())


def test_esd_turns_away_from_the_concept_by_eta_and_at_0_is_sdd_on_the_frozen_model():
    empty, concept = made_up(2)

    assert torch.equal(sdd.esd_target(empty, concept, 0.0), empty)
    assert torch.allclose(sdd.esd_target(empty, concept, 1.0), 2 * empty - concept)
    assert torch.allclose(sdd.esd_target(empty, concept, 3.0) - empty, 3 * (empty - concept))


def test_the_running_mean_leaves_its_start_soon_and_ends_at_the_published_decay():
    decays = [sdd.decay_at(step) for step in range(20000)]

    assert decays == sorted(decays)
    assert math.prod(decays[:100]) < 1e-6  # what is left of the start
    assert decays[-1] == sdd.DECAY


def test_duo_at_the_reference_is_log_2_and_its_penalty_0():
    safe, unsafe, noise, x = made_up(4)
    errors = duo.errors(safe, noise), duo.errors(unsafe, noise)

    assert float(duo.preference(*errors, *errors)) == pytest.approx(math.log(2), abs=1e-7)
    assert float(duo.preservation(x, x)) == 0.0


def test_duo_falls_where_the_safe_picture_is_predicted_better_and_the_unsafe_one_worse():
    zero = torch.zeros(2)
    better, worse = zero - 1e-3, zero + 1e-3

    assert float(duo.preference(better, zero, zero, zero)) < math.log(2)
    assert float(duo.preference(zero, worse, zero, zero)) < math.log(2)
    assert float(duo.preference(worse, better, zero, zero)) > math.log(2)
    assert float(duo.preference(better, worse, zero, zero)) == pytest.approx(math.log1p(math.exp(-duo.BETA * 2e-3)))


def test_duo_still_teaches_where_a_concept_begins_to_go():
    """There the errors of the small model have moved by .02."""

    def pull(margin):
        moved = torch.full((1,), margin, requires_grad=True)
        with torch.enable_grad():
            duo.preference(moved, *torch.zeros(3, 1)).backward()
        return float(moved.grad)

    assert pull(-0.02) > 0.2 * pull(0.0) > 0


def test_duos_penalty_grows_with_beta_as_published():
    now, before = made_up(2)

    assert float(duo.preservation(now, before, 100.0)) == pytest.approx(1e6 * float((now - before).square().mean()))
    assert float(duo.preservation(now, before, 500.0)) == pytest.approx(5e6 * float((now - before).square().mean()))


def test_duo_gives_every_picture_its_own_error():
    predicted, noise = made_up(2)

    errors = duo.errors(predicted, noise)

    assert errors.shape == (2,)
    assert torch.allclose(errors[1], (predicted[1] - noise[1]).square().mean())


def test_the_attention_watched_is_the_one_that_torch_computes():
    generator = torch.Generator().manual_seed(3)
    q, k = torch.randn(2, 5, 8, generator=generator), torch.randn(2, 7, 8, generator=generator)
    places = torch.tensor([1, 4])

    seen = forget_me_not.probabilities(q, k, 2, places)

    values = torch.eye(7).expand(2, 2, 7, 7)  # of which attention gives its own probabilities
    queries, keys = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in (q, k))
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values)
    assert torch.allclose(seen, expected[..., places], atol=1e-6)


def test_forget_me_not_is_the_length_over_all_layers_and_not_its_square():
    layers = [torch.full((1, 2, 2, 1), 0.5), torch.full((1, 1, 5, 1), 1.0)]

    assert float(forget_me_not.attention(layers)) == pytest.approx(math.sqrt(4 * 0.25 + 5))
