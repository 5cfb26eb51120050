import pytest
import torch

from safelight.edits.growth_inhibitors import found


def drawn(*shape, seed=3, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def text(length, width, words):
    chosen = torch.zeros(length, dtype=torch.bool)
    chosen[words] = True
    return drawn(length, width, seed=4), drawn(length, width, seed=5), chosen


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_is_the_attention_over_the_whole_text_of_which_the_words_count(heads):
    """By hand, head by head: the start's and the padding's share of the softmax is lost."""
    q, (k, v, words) = drawn(2, 5, 8), text(7, 8, [1, 2, 4])
    width = 8 // heads
    expected = torch.zeros(2, 5, 8, dtype=torch.float64)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        share = (q[..., part] @ k[:, part].T / width**0.5).softmax(dim=-1)
        expected[..., part] = share[..., [1, 2, 4]] @ v[[1, 2, 4]][:, part]
    assert torch.allclose(found(q, k, v, words, heads), expected, atol=1e-12)


def test_a_place_that_attends_to_the_start_finds_nothing():
    k, v, words = text(4, 2, [1, 2])
    k[:] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    v[1:3] = torch.tensor([3.0, 5.0])
    q = 100 * torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    assert torch.allclose(found(q, k, v, words, 1)[0], torch.tensor([[0.0, 0.0], [3.0, 5.0]], dtype=torch.float64))


def test_a_text_without_words_brings_nothing():
    k, v, words = text(5, 4, [])
    assert not found(drawn(1, 3, 4), k, v, words, 2).any()


def test_each_picture_finds_for_itself():
    q, (k, v, words) = drawn(3, 6, 8), text(9, 8, [1, 5])
    together = found(q, k, v, words, 2)
    assert all(torch.allclose(found(q[i : i + 1], k, v, words, 2)[0], together[i], atol=1e-12) for i in range(3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_stays_and_nothing_is_rounded_on_the_way(dtype):
    q, (k, v, words) = drawn(1, 4, 64), text(77, 64, range(1, 40))
    q, k, v = (x.to(dtype) for x in (q, k, v))
    small, exact = found(q, k, v, words, 1), found(q.double(), k.double(), v.double(), words, 1)
    assert small.dtype == dtype
    assert torch.allclose(small.double(), exact, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-6)


def test_a_value_of_a_word_that_is_no_number_is_seen():
    k, v, words = text(4, 2, [1])
    v[1, 0] = float("nan")
    assert bool(found(drawn(1, 2, 2), k, v, words, 1).isnan().any())
