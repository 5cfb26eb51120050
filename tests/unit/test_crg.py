import pytest
import torch

from safelight.guidance.crg import WARM_UP, ConceptRemoval, share_of


def noises(shape, count=1, seed=3, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for _ in range(2 + count)]


def left(e_0, e_p, *unsafe, **settings):
    """The prompt's prediction without the direction."""
    return e_p - ConceptRemoval(texts=len(unsafe), **settings).direction(e_0, e_p, unsafe, 0)


def test_twice_what_goes_beyond_half_of_the_way_is_taken():
    """D = (2, 0); the prompt goes .75 of it: 2 (.75 - .5) (2, 0) = (1, 0)."""
    e_0, e_n = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 1.0]])
    assert left(e_0, torch.tensor([[2.5, 4.0]]), e_n).tolist() == [[1.5, 4.0]]


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (2, 4, 16)])
def test_a_prompt_that_says_what_the_concept_says_falls_back_to_no_prompt(shape):
    e_0, e_n, _ = noises(shape)
    assert torch.allclose(left(e_0, e_n, e_n), e_0, atol=1e-12)


@pytest.mark.parametrize("share", [0.5, 0.49, 0.0, -3.0])
def test_what_goes_half_of_the_way_or_less_keeps_its_bits(share):
    e_0, e_n, aside = noises((2, 4, 6, 6))
    along = (e_n - e_0).flatten(1)
    aside = (aside.flatten(1) - share_of(aside, e_n - e_0)[:, None] * along).reshape(e_0.shape)
    e_p = e_0 + share * (1 - 1e-9) * (e_n - e_0) + aside
    assert torch.equal(left(e_0, e_p, e_n), e_p)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_papers_omega_with_its_evidence(seed):
    """b = |e_p - e_0|^2 - |e_p - e_n|^2, omega = (b / 2) / |D|^2 where that is above 0, e_p' = e_p - 2 omega D."""
    e_0, e_p, e_n = noises((6, 4, 3, 3), seed=seed)
    e_p = e_p + torch.linspace(-1.0, 2.0, 6).reshape(-1, 1, 1, 1) * (e_n - e_0)  # some on either side

    def square(each):
        return each.square().sum(dim=(1, 2, 3), keepdim=True)

    omega = ((square(e_p - e_0) - square(e_p - e_n)) / 2 / square(e_n - e_0)).clamp(min=0)
    assert bool((omega > 0).any()) and bool((omega == 0).any())
    assert torch.allclose(left(e_0, e_p, e_n), e_p - 2 * omega * (e_n - e_0), atol=1e-12)


def test_the_scale_of_the_noise_does_not_matter():
    """A velocity is a noise prediction with another offset and factor."""
    e_0, e_p, e_n = noises((2, 4, 5, 5))
    e_p = e_p + 2 * (e_n - e_0)
    offset = noises((2, 4, 5, 5), seed=9)[0]
    scaled = left(*(offset - 40 * each for each in (e_0, e_p, e_n)))
    assert torch.allclose(scaled, offset - 40 * left(e_0, e_p, e_n), atol=1e-9)


def test_each_picture_has_the_concept_that_it_goes_furthest_for():
    """The longer direction would win by the projection's length."""
    e_0 = torch.zeros(2, 2, dtype=torch.float64)
    e_p = torch.tensor([[1.0, 1.0], [0.2, 1.0]], dtype=torch.float64)
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)  # shares 1 and .2
    second = torch.tensor([[0.0, 1.6], [0.0, 1.6]], dtype=torch.float64)  # shares .625 and .625
    expected = torch.tensor([[0.0, 1.0], [0.2, 0.6]], dtype=torch.float64)
    assert torch.allclose(left(e_0, e_p, first, second), expected, atol=1e-12)


def test_a_lower_share_takes_more():
    e_0, e_p, e_n = torch.zeros(1, 1), torch.full((1, 1), 0.8), torch.ones(1, 1)
    rest = [round(float(left(e_0, e_p, e_n, share=share)), 4) for share in (1.0, 0.8, 0.5, 0.3)]
    assert rest == [0.8, 0.8, 0.2, -0.2]


@pytest.mark.parametrize("name", ["share", "warm_up"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "half", True])
def test_numbers_outside_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        ConceptRemoval(**{name: value})


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (2, 4, 16)])
def test_a_batch_is_its_samples_at_any_step(shape):
    e_0, e_p, *unsafe = noises(shape, 3)
    e_p = e_p + 2 * unsafe[0]
    method = ConceptRemoval(texts=3)
    gamma = method.direction(e_0, e_p, unsafe, 0)
    assert gamma.shape == shape and bool(gamma.any())
    for i in range(shape[0]):
        one = slice(i, i + 1)
        assert torch.equal(gamma[one], method.direction(e_0[one], e_p[one], [e[one] for e in unsafe], 9 - i))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow_and_stays(dtype):
    """The squares of a latent of 64 x 64 are beyond what half precision can hold."""
    e_0, e_n, _ = (20 * each for each in noises((1, 4, 64, 64)))
    gamma = ConceptRemoval().direction(*(each.to(dtype) for each in (e_0, e_n)), [e_n.to(dtype)], 0)
    assert gamma.dtype == dtype
    assert torch.allclose(gamma.double(), e_n.to(dtype).double() - e_0.to(dtype).double(), rtol=2e-2)


def test_a_text_that_changes_nothing_takes_nothing_and_one_that_is_no_number_is_never_passed_over():
    e_0, e_p, e_n = noises((1, 4, 4, 4))
    assert torch.equal(left(e_0, e_p, e_0), e_p)
    e_n[0, 0, 0, 0] = float("nan")
    assert left(e_0, e_p, e_0, e_n).isnan().any()


def test_it_acts_after_the_first_steps_and_keeps_no_state():
    assert ConceptRemoval().warm_up == WARM_UP
    method = ConceptRemoval(warm_up=0.2, texts=2, strength=0.3)
    assert (method.warm_up, method.remembers, method.strength, len(method.unsafe)) == (0.2, False, 0.3, 2)
    before = dict(vars(method))
    e_0, e_p, *unsafe = noises((1, 4, 2, 2), 2)
    method.direction(e_0, e_p, unsafe, 0)
    assert vars(method) == before
