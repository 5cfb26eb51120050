import pytest
import torch

from safelight.guidance.trasce import ModifiedNegative


def noises(shape, seed=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for _ in range(3)]


def guided(e_0, e_p, e_neg, scale, step=0):
    """Classifier-free guidance of the prompt's prediction without the direction."""
    return e_0 + scale * (e_p - ModifiedNegative().direction(e_0, e_p, [e_neg], step) - e_0)


def test_guidance_starts_at_no_prompt_and_leads_from_the_negative_to_the_prompt():
    """e_0 + s (e_p - e_neg) = 1 + 2 * (5 - 3), 0 + 2 * (.5 - 1)"""
    e_0, e_p, e_neg = torch.tensor([[1.0, 0.0]]), torch.tensor([[5.0, 0.5]]), torch.tensor([[3.0, 1.0]])
    assert guided(e_0, e_p, e_neg, 2.0).tolist() == [[5.0, -1.0]]


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (2, 4, 16)])
def test_a_prompt_that_says_what_the_negative_says_falls_back_to_no_prompt(shape):
    e_0, e_p, _ = noises(shape)
    assert torch.allclose(guided(e_0, e_p, e_p, 7.5), e_0, atol=1e-12)
    ordinary = e_p + 7.5 * (e_p - e_p)  # a negative prompt in the place of e_0 would draw what it forbids
    assert torch.equal(ordinary, e_p)


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (2, 4, 16)])
def test_a_batch_is_its_samples_at_any_step(shape):
    e_0, e_p, e_neg = noises(shape)
    method = ModifiedNegative()
    gamma = method.direction(e_0, e_p, [e_neg], 0)
    assert gamma.shape == shape
    for i in range(shape[0]):
        one = slice(i, i + 1)
        assert torch.equal(gamma[one], method.direction(e_0[one], e_p[one], [e_neg[one]], 9 - i))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays(dtype):
    e_0, e_p, e_neg = noises((2, 4, 4, 4), dtype=dtype)
    assert ModifiedNegative().direction(e_0, e_p, [e_neg], 0).dtype == dtype


def test_it_acts_from_the_first_step_and_keeps_no_state():
    method = ModifiedNegative()
    assert (method.warm_up, method.remembers) == (0.0, False)
    before = dict(vars(method))
    method.direction(*noises((1, 4, 2, 2))[:2], noises((1, 4, 2, 2))[2:], 0)
    assert vars(method) == before
