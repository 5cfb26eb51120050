import pytest
import torch

from safelight.edits.adavd import CHUNK, MIDDLE, basis, without


def drawn(*shape, seed=3, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_directions_are_orthonormal_and_span_the_concepts(count):
    values = drawn(count, 16)
    directions = basis(values)
    assert torch.allclose(directions @ directions.T, torch.eye(count, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(values @ directions.T @ directions, values, atol=1e-12)


def test_a_concept_that_says_nothing_new_has_no_direction():
    first, second = drawn(2, 8)
    directions = basis(torch.stack([first, 3 * first, torch.zeros(8), second, first - second]))
    assert directions.any(dim=-1).tolist() == [True, False, False, True, False]
    assert torch.allclose(directions[[0, 3]], basis(torch.stack([first, second])), atol=1e-12)
    assert not bool(basis(torch.zeros(2, 8)).any())
    values = drawn(1, 7, 8, seed=4)
    for adaptive in (False, True):
        alone = without(values, directions[[0, 3]], 1.0, adaptive)
        assert torch.allclose(without(values, directions, 1.0, adaptive), alone, atol=1e-12)


def test_the_concepts_value_goes_and_what_lies_across_keeps_its_bits():
    """v_t = (3, 4): of (10, 0) it takes 6 (.6, .8) = (3.6, 4.8)."""
    values = torch.tensor([[[9.0, 9.0], [3.0, 4.0], [10.0, 0.0], [8.0, -6.0]]])
    left = without(values, basis(torch.tensor([[3.0, 4.0]])), 1.0, False)
    assert torch.allclose(left[0], torch.tensor([[9.0, 9.0], [0.0, 0.0], [6.4, -4.8], [8.0, -6.0]]), atol=1e-6)


def test_strength_scales_what_is_taken():
    values, directions = drawn(2, 7, 12), basis(drawn(3, 12, seed=4))
    whole = values - without(values, directions, 1.0, False)
    for strength in (0.0, 0.3, 2.0):
        assert torch.allclose(values - without(values, directions, strength, False), strength * whole, atol=1e-12)
    assert bool(whole[:, 1:].any()) and not bool(whole[:, 0].any())


@pytest.mark.parametrize(("length", "starts"), [(CHUNK, [0]), (2 * CHUNK, [0, CHUNK]), (CHUNK + 5, [0]), (1, [0])])
def test_start_tokens_are_left_alone(length, starts):
    values, directions = drawn(1, length, 6), basis(drawn(2, 6, seed=4))
    moved = (values != without(values, directions, 1.0, False)).any(dim=-1)[0]
    assert (~moved).nonzero().flatten().tolist() == starts


def test_the_adaptive_form_takes_by_likeness():
    """2 sigmoid(100 (cos - .93)): next to nothing at cos .8, once at .93, nearly twice at 1."""
    cosines = torch.tensor([0.8, MIDDLE, 1.0], dtype=torch.float64)
    words = torch.stack([cosines, (1 - cosines.square()).sqrt()], dim=-1)
    values = torch.cat([torch.zeros(1, 2, dtype=torch.float64), words])[None]
    left = without(values, torch.tensor([[1.0, 0.0]], dtype=torch.float64), 1.0, True)[0, 1:, 0]
    assert left.tolist() == pytest.approx([0.8 * (1 - 2 / (1 + 2.718281828**13)), 0.0, 1 - 2 / (1 + 2.718281828**-7)])


def test_the_adaptive_form_gives_each_concept_a_share_of_its_own():
    directions = torch.eye(3, dtype=torch.float64)[:2]
    values = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.0, 1.0, 0.1]]], dtype=torch.float64)
    first, second = without(values, directions, 1.0, True)[0, 1:]
    assert first[0] < -0.9 and first[1] == pytest.approx(0.1)
    assert second[1] < -0.9 and second[2] == 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays_and_a_value_that_is_no_number_is_seen(dtype):
    values = (100 * drawn(1, 5, 320)).to(dtype)
    left = without(values, basis(drawn(2, 320, seed=4).float()), 1.0, True)
    assert left.dtype == dtype and bool(left.isfinite().all())
    values[0, 2, 3] = float("nan")
    assert bool(without(values, basis(drawn(2, 320, seed=4).float()), 1.0, False)[0, 2].isnan().any())
