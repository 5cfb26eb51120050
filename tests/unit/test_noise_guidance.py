"""What the methods share that take a direction from the noise: when they act, where, and by how much."""

import pytest
import torch

from safelight.guidance.method import NEGATIVE, POSITIVE, Needs, Step
from safelight.guidance.noise_guidance import NoiseGuidance, moved, to_noise, unsafe_names

SHAPE = (2, 4, 2, 2)
UNSAFE = unsafe_names(2)
ALL = (POSITIVE, NEGATIVE, *UNSAFE)
SIGMA = torch.tensor([2.0, 0.5])


class Recorded(NoiseGuidance):
    """The direction is 1 everywhere; keeps what it was given."""

    def direction(self, noise_uncond, noise_cond, noises, step):
        self.given = noise_uncond, noise_cond, *noises, step
        return torch.ones_like(noise_cond)


def step(weight=1.0, active=ALL, index=3, **reach):
    names = {"positive": POSITIVE, "negative": NEGATIVE, "first": UNSAFE[0], "second": UNSAFE[1]}
    reach = {names[name]: cells for name, cells in reach.items()}
    return Step(torch.zeros(SHAPE), SIGMA, weight, index, frozenset(active), True, reach.get, lambda: None)


def constant(value):
    return torch.full(SHAPE, value)


DENOISED = {name: constant(float(i + 1)) for i, name in enumerate(ALL)}


def test_all_predictions_are_asked_for_where_all_take_part():
    method = Recorded(0.2, remembers=False, texts=2)
    assert method.needs(step()) == Needs(ALL)
    for missing in ALL:
        active = [name for name in ALL if name != missing]
        assert method.needs(step(active=active)) == Needs((POSITIVE,), alone=True), missing


@pytest.mark.parametrize(("remembers", "needs"), [(True, Needs(ALL)), (False, Needs((POSITIVE,), alone=True))])
def test_before_the_warm_up_a_method_is_called_where_it_remembers(remembers, needs):
    method = Recorded(0.2, remembers, texts=2)
    assert method.needs(step(weight=0.0)) == needs
    guided = method.combine(step(weight=0.0), DENOISED)
    assert guided.cond is guided.positive is DENOISED[POSITIVE]
    assert method.given[-1] == 3, "the state moves on"


def test_each_picture_is_moved_by_its_own_noise_level():
    method = Recorded(0.0, remembers=True, texts=2)
    guided = method.combine(step(weight=0.25), DENOISED)
    # D + sigma * weight * 1
    assert [float(picture.unique()) for picture in guided.cond] == [1.5, 1.125]
    # (x - D) / sigma, for the negative, the positive and each unsafe text
    given = [[float(picture.unique()) for picture in noise] for noise in method.given[:-1]]
    assert given == [[-1.0, -4.0], [-0.5, -2.0], [-1.5, -6.0], [-2.0, -8.0]]


@pytest.mark.parametrize("name", ["positive", "negative", "first", "second"])
def test_a_cell_that_one_of_the_texts_leaves_out_stays_as_it_was(name):
    cells = torch.zeros(SHAPE, dtype=torch.bool)
    cells[..., 0] = True
    guided = Recorded(0.0, remembers=True, texts=2).combine(step(**{name: cells}), DENOISED)
    assert torch.equal(guided.cond != guided.positive, cells)


def test_noise_and_its_removal_are_each_others_inverse_for_any_shape():
    for shape in ((2, 4, 8, 8), (2, 16, 3, 4, 4), (2, 5)):
        x, denoised = torch.randn(shape), torch.randn(shape)
        noise = to_noise(x, denoised, SIGMA)
        assert torch.allclose(moved(denoised, noise, SIGMA, 1.0), x, atol=1e-5)
        for i in range(2):
            assert torch.allclose(noise[i], (x - denoised)[i] / SIGMA[i], atol=1e-5)


def test_the_weight_is_one_from_the_warm_up_on():
    settings = Recorded(0.2, remembers=True).settings(lambda: 0.0)
    weights = [settings.schedule.weight(p, settings.safety) for p in (0.0, 0.19, 0.2, 1.0)]
    assert weights == [0.0, 0.0, 1.0, 1.0]
