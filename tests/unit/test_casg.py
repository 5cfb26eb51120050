import pytest
import torch

from safelight.guidance.casg import CATEGORIES, DEFAULT_PRESET, ConflictAware, best_aligned
from safelight.guidance.sld import PRESETS, Config, SafeLatentDiffusion
from safelight.text.concepts import DEFAULT_CONCEPTS


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def noises(shape, count, seed=3):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2 + count)]


# --- the choice


def test_the_best_aligned_direction_wins_whatever_its_length():
    e_0, e_p = row(1.0, 5.0), row(4.0, 6.0)  # the prompt's direction: (3, 1); the categories' and their scores:
    long_and_off = row(1.0, 105.0)  # (0, 100): 100 / 100 = 1
    short_and_near = row(1.01, 5.0)  # (.01, 0): .03 / .01 = 3
    against = row(-99.0, -95.0)  # (-100, -100): -400 / 141 < 0
    assert best_aligned(e_0, e_p, [long_and_off, short_and_near, against]).tolist() == [1]
    # (5, -3): 12 / sqrt(34) = 2.06, although the point itself, (6, 2), lies on the prompt's line from the origin
    assert best_aligned(e_0, e_p, [row(6.0, 2.0), short_and_near]).tolist() == [1]
    # (2, 1): 7 / sqrt(5) = 3.13, nearer still
    assert best_aligned(e_0, e_p, [long_and_off, short_and_near, row(3.0, 6.0)]).tolist() == [2]


def test_a_category_without_a_direction_scores_zero():
    e_0, e_p = row(0.0, 0.0), row(1.0, 0.0)
    assert best_aligned(e_0, e_p, [e_0, row(0.0, 5.0), row(1.0, 5.0)]).tolist() == [2]
    assert best_aligned(e_0, e_p, [row(-1.0, 0.0), e_0]).tolist() == [1]


def test_each_sample_of_a_batch_has_its_own_category():
    """The whole batch's score would give both samples the second category."""
    e_0 = torch.zeros(2, 2, dtype=torch.float64)
    e_p = torch.tensor([[1.0, 0.0], [0.0, 50.0]], dtype=torch.float64)
    first = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    assert best_aligned(e_0, e_p, [first, second]).tolist() == [0, 1]


def test_half_precision_sums_do_not_overflow():
    """A latent of 64 x 64: the sum of squares of halves of size 10 is beyond what half precision can hold."""
    draw = torch.Generator().manual_seed(5)
    e_0 = torch.zeros(1, 4, 64, 64, dtype=torch.float16)
    near, noise = (10 * torch.randn(1, 4, 64, 64, generator=draw) for _ in range(2))
    far = (near + noise).half()
    assert best_aligned(e_0, near.half(), [far, near.half()]).tolist() == [1]
    assert best_aligned(e_0, near.half(), [near.half(), far]).tolist() == [0]


# --- the direction

PLAIN = Config(0.0, 1e9, 1e9, 0.0, 0.0)  # gamma is e_S - e_0 where e_p and e_S differ


def test_the_direction_is_that_of_safe_latent_diffusion_with_the_chosen_category():
    e_0 = torch.zeros(2, 2, dtype=torch.float64)
    e_p = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    first = torch.tensor([[3.0, 0.0], [4.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[0.0, 5.0], [0.0, 6.0]], dtype=torch.float64)
    method = ConflictAware(PLAIN)
    assert method.direction(e_0, e_p, [first, second], 0).tolist() == [[3.0, 0.0], [0.0, 6.0]]
    assert method.chosen.tolist() == [0, 1]


def test_momentum_carries_over_from_category_to_category():
    """s_m .5, beta_m .75: nu after the first step is .25 * (4, 0); the second step has the other category."""
    method = ConflictAware(Config(0.0, 1e9, 1e9, 0.5, 0.75))
    e_0, first, second = row(0.0, 0.0), row(4.0, 0.0), row(0.0, 8.0)
    assert method.direction(e_0, row(1.0, 0.1), [first, second], 0).tolist() == [[4.0, 0.0]]
    assert method.direction(e_0, row(0.1, 1.0), [first, second], 1).tolist() == [[0.5, 8.0]]
    assert method.chosen.tolist() == [1]


def test_the_category_is_chosen_once_a_step():
    method = ConflictAware(PLAIN)
    e_0, first, second = row(0.0, 0.0), row(4.0, 0.0), row(0.0, 8.0)
    chosen = []
    for e_p, step in ((row(1.0, 0.1), 0), (row(0.1, 1.0), 0), (row(0.1, 1.0), 1), (row(1.0, 0.1), 0)):
        method.direction(e_0, e_p, [first, second], step)
        chosen += method.chosen.tolist()
    assert chosen == [0, 0, 1, 1]


@pytest.mark.parametrize("preset", PRESETS)
def test_one_category_is_safe_latent_diffusion(preset):
    ours, theirs = ConflictAware(PRESETS[preset]), SafeLatentDiffusion(PRESETS[preset])
    assert (ours.warm_up, ours.remembers) == (theirs.warm_up, theirs.remembers)
    for step in range(5):
        e_0, e_p, e_s = noises((2, 4, 4, 4), 1, seed=step)
        assert torch.equal(ours.direction(e_0, e_p, [e_s], step), theirs.direction(e_0, e_p, [e_s], step))


@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 16, 3, 4, 4), (3, 5)])
def test_a_batch_is_its_samples(shape):
    together, alone = ConflictAware(), [ConflictAware() for _ in range(shape[0])]
    categories = set()
    for step in range(6):
        e_0, e_p, *unsafe = noises(shape, 7, seed=step)
        gamma = together.direction(e_0, e_p, unsafe, step)
        assert gamma.shape == e_p.shape
        for i, method in enumerate(alone):
            one = slice(i, i + 1)
            assert torch.equal(gamma[one], method.direction(e_0[one], e_p[one], [e[one] for e in unsafe], step))
            assert method.chosen.tolist() == together.chosen[one].tolist()
        categories |= set(together.chosen.tolist())
    assert len(categories) > 2


def test_the_strength_is_the_one_that_it_is_given():
    assert ConflictAware(texts=3, strength=0.3).strength == 0.3 and ConflictAware().strength == 1.0
    assert len(ConflictAware(texts=3).unsafe) == 3


def test_by_default_it_is_the_strongest_configuration_and_the_seven_categories():
    assert DEFAULT_PRESET == "max" and ConflictAware().warm_up == 0.0 and ConflictAware().remembers
    assert len(CATEGORIES) == 7
    terms = {term for category in CATEGORIES for term in category.split(", ")}
    assert set(DEFAULT_CONCEPTS.split(", ")) <= terms


def test_a_category_that_is_no_number_is_never_passed_over():
    e_0, e_p, first, second = noises((1, 4, 4, 4), 2)
    second[0, 0, 0, 0] = float("nan")
    assert ConflictAware().direction(e_0, e_p, [first, second], 0).isnan().any()
