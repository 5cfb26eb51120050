"""Presence of a concept in a run's predictions: the formula, the thresholds, and the detector that looks at a run."""

import math

import pytest
import torch

from safelight.detect.combined import ALL, ANY, Combined
from safelight.detect.detector import Detector
from safelight.detect.look import FOUND, Finding, Look
from safelight.detect.presence import EARLIEST, Calibration, ModelPresence, presence
from safelight.detect.run_predictions import NO_TEXT, RunPredictions

TEXTS = {"a": "a weapon", "b": "drugs"}
PICTURES = torch.zeros(2, 4, 4, 3)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def calibration(prompts=24, spread=0.1, places=(0.3, 0.5, 0.7)):
    """Evenly spread p around 0, the same for all concepts and places."""
    values = torch.linspace(-spread, spread, prompts)[None, :, None].expand(len(places), prompts, len(TEXTS))
    return Calibration(places, values)


def detector(**changes):
    return ModelPresence(TEXTS, {NO_TEXT: [], "a": [], "b": []}, calibration(), **changes)


def run_of(*presences, progress=0.5, last=True):
    """A run of as many pictures, in each of which the concepts a and b have these p."""
    uncond = random(len(presences), 4, 2, 2)
    a, b = torch.zeros(2, 4, 2, 2)
    a[0], b[1] = 1.0, 1.0  # at right angles
    cond = uncond + torch.stack([p * a + q * b for p, q in presences])
    return RunPredictions(progress, last, cond, uncond, {"a": uncond + a, "b": uncond + b, NO_TEXT: uncond})


# -- the formula


def test_p_by_hand():
    cond, uncond, concept = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]])
    assert presence(cond, uncond, concept).tolist() == [0.5]  # <(1, 1), (2, 0)> / 4
    assert presence(uncond + 3 * (cond - uncond), uncond, concept).tolist() == pytest.approx([6 / 18])


def test_the_concept_itself_has_1_its_opposite_minus_1_and_what_is_apart_0():
    uncond, along = random(3, 4, 5, 5), random(3, 4, 5, 5, seed=1)
    assert presence(uncond + along, uncond, uncond + along).tolist() == pytest.approx([1.0] * 3)
    assert presence(uncond - along, uncond, uncond + along).tolist() == pytest.approx([-1.0] * 3)
    across = random(3, 4, 5, 5, seed=2)
    shares = (across * along).flatten(1).sum(1) / along.square().flatten(1).sum(1)
    across -= shares[:, None, None, None] * along
    assert presence(uncond + across, uncond, uncond + along).tolist() == pytest.approx([0.0] * 3, abs=1e-6)


def test_it_is_the_papers_evidence_where_the_concept_changes_more_than_the_prompt():
    uncond, cond, concept = random(2, 8), random(2, 8, seed=1), random(2, 8, seed=2)
    cond = uncond + 0.2 * (cond - uncond)
    evidence = (cond - uncond).square().sum(1) - (cond - concept).square().sum(1)
    expected = (2 * presence(cond, uncond, concept) - 1) * (concept - uncond).square().sum(1)
    assert torch.allclose(evidence, expected, atol=1e-5)


def test_noise_velocity_and_clean_prediction_give_the_same():
    x, sigma, denoised = random(2, 4, 3, 3), 0.7, [random(2, 4, 3, 3, seed=seed) for seed in (1, 2, 3)]
    expected = presence(*denoised)
    assert torch.allclose(presence(*((x - each) / sigma for each in denoised)), expected, atol=1e-5)
    assert torch.allclose(presence(*(0.3 * x - 2.0 * each for each in denoised)), expected, atol=1e-5)


def test_every_picture_has_its_own_whatever_its_axes():
    three = [random(3, 16, 2, 4, 4, seed=seed) for seed in range(3)]
    together = presence(*three)
    assert together.shape == (3,)
    for i in range(3):
        assert together[i] == pytest.approx(float(presence(*(each[i : i + 1] for each in three))))


def test_a_text_that_changes_nothing_has_no_p():
    uncond = random(2, 4)
    assert presence(random(2, 4, seed=1), uncond, uncond).isnan().all()


# -- the thresholds


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("prompts", [24, 60])
def test_the_stated_rate_of_harmless_pictures_is_found(rate, prompts):
    """Over many calibrations: a new harmless picture is over a threshold, of any of the concepts, so often."""
    generator, rates = torch.Generator().manual_seed(1), []
    for _ in range(200):
        values = torch.randn(1, prompts + 100, 3, generator=generator) * torch.tensor([0.1, 0.3, 1.0]) + 0.2
        thresholds, _ = Calibration((0.5,), values[:, :prompts]).limits(rate)
        rates.append(float((values[0, prompts:] >= thresholds).any(1).float().mean()))
    assert sum(rates) / len(rates) == pytest.approx(rate, abs=0.04)


def test_more_false_alarms_lower_all_thresholds_by_as_many_deviations():
    values = random(3, 40, 2) * torch.tensor([0.1, 0.4])
    (strict, deviation), (loose, _) = (Calibration((0.3, 0.5, 0.7), values).limits(rate) for rate in (0.05, 0.3))
    apart = (strict - loose) / deviation
    assert (apart > 0).all() and torch.allclose(apart, apart[0, 0].expand(3, 2))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ValueError, match="false_alarms"):
        detector(false_alarms=rate)


def test_a_calibration_that_says_nothing_is_refused():
    values = calibration().values.clone()
    values[1, 3, 0] = math.nan
    with pytest.raises(ValueError, match="concepts: expected texts that change what the model predicts"):
        Calibration((0.3, 0.5, 0.7), values)
    with pytest.raises(ValueError, match="at least 2 harmless prompts"):
        calibration(prompts=1)


def test_between_two_places_the_threshold_goes_straight_and_beyond_them_it_stays():
    values = torch.stack([calibration().values[0] + shift for shift in (0.0, 0.2, 0.6)])
    one = ModelPresence(TEXTS, {}, Calibration((0.3, 0.5, 0.7), values))
    (low, _), (middle, _), (high, _) = one._thresholds.tolist()
    for progress, expected in ((0.26, low), (0.3, low), (0.4, (low + middle) / 2), (0.7, high), (0.95, high)):
        for p, found in ((expected - 0.005, False), (expected + 0.005, True)):
            (look,) = one.look(PICTURES[:1], run=run_of((p, -0.5), progress=progress))
            assert look.found is found, progress


# -- the looks


def test_a_picture_that_heads_for_a_concept_is_found_with_its_name():
    seen, clear = detector().look(PICTURES, run=run_of((0.0, 0.9), (0.0, 0.0)))
    assert seen.found and seen.words == "drugs" and [one.name for one in seen.findings] == ["drugs", "a weapon"]
    assert not clear.found and clear.words == "nothing" and 0.0 < clear.score < FOUND
    assert "a weapon" in detector().name and "drugs" in detector().name


def test_the_frames_of_a_video_get_the_look_at_the_whole():
    told = []
    looks = detector().look(torch.zeros(6, 4, 4, 3), told.append, run_of((0.9, 0.0), (0.0, 0.0)))
    assert [look.found for look in looks] == [True] * 3 + [False] * 3 and told == [6]


@pytest.mark.parametrize("field", ["cond", "uncond", "a"])
def test_a_number_that_is_none_counts_as_found_in_that_picture_alone(field):
    run = run_of((0.0, 0.0), (0.0, 0.0))
    tensor = run.concepts["a"] if field == "a" else getattr(run, field)
    tensor[1, 0, 0, 0] = math.nan
    clear, broken = detector().look(PICTURES, run=run)
    assert not clear.found and broken.found and "no numbers" in broken.words


def test_the_first_steps_say_nothing_on_the_way_and_a_run_of_no_more_counts_as_found():
    early = run_of((1.0, 1.0), (0.0, 0.0), progress=EARLIEST - 0.01, last=False)
    assert detector().look(PICTURES, run=early) == [Look(0.0)] * 2
    last = run_of((1.0, 1.0), (0.0, 0.0), progress=EARLIEST - 0.01)
    assert all(look.found and "too few steps" in look.words for look in detector().look(PICTURES, run=last))


def test_finished_pictures_are_refused():
    for one in (detector(), Combined([detector()])):
        with pytest.raises(ValueError, match="detector: .*Link it to Safelight KSampler"):
            one.look(PICTURES)


def test_some_pictures_of_a_run():
    some = run_of((0.9, 0.0), (0.0, 0.0), (0.0, 0.9)).of([2, 0])
    assert [look.words for look in detector().look(PICTURES, run=some)] == ["drugs", "a weapon"]


class Still(Detector):
    """Sees the same in every picture."""

    name = "still"

    def __init__(self, score):
        self.score = score

    def _look(self, pictures):
        return [Look(self.score, (Finding("a thing", self.score),))] * len(pictures)


def test_beside_detectors_of_pictures():
    run = run_of((0.9, 0.0), (0.0, 0.0))
    both = Combined([Still(0.9), detector()], ALL)
    assert [look.found for look in both.look(PICTURES, run=run)] == [True, False]
    assert both.conditionings.keys() == {NO_TEXT, "a", "b"} and not Still(0.0).conditionings
    both = Combined([detector(), Still(0.1)], ANY)
    assert [look.words for look in both.look(PICTURES, run=run)] == ["a weapon", "nothing"]
