"""The Safe Adapter's addition: which tokens get which projection, and what a file has to hold."""

import pytest
import torch
import torch.nn.functional as F

from safelight.edits.safe_adapter import CHUNK, TAIL, Projection, projections, start

LAYER = "middle_block.1.transformer_blocks.0.attn2.to_k"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def projection():
    return Projection(difference=draw(5, 8, seed=1), down=draw(2, 8, seed=2), up=draw(5, 2, seed=3))


def test_it_adds_nothing_before_training():
    one = projections(start({LAYER: (8, 5)}))[LAYER]
    assert torch.count_nonzero(one.delta(draw(2, CHUNK, 8).float())) == 0
    assert torch.count_nonzero(one.down) > 0  # else the low-rank part could never learn


def test_the_tail_has_a_separate_projection(projection):
    """W c + delta is W' c on the last tokens, with W' = W + difference, and the low-rank sum on the others."""
    states, host = draw(3, CHUNK, 8), draw(5, 8, seed=4)
    total = F.linear(states, host) + projection.delta(states)
    torch.testing.assert_close(total[:, -TAIL:], F.linear(states[:, -TAIL:], host + projection.difference))
    torch.testing.assert_close(total[:, :-TAIL], F.linear(states[:, :-TAIL], host + projection.up @ projection.down))


def test_each_chunk_of_a_long_prompt_is_as_it_is_alone(projection):
    first, second = draw(2, CHUNK, 8, seed=5), draw(2, CHUNK, 8, seed=6)
    both = projection.delta(torch.cat([first, second], dim=1))
    torch.testing.assert_close(both, torch.cat([projection.delta(first), projection.delta(second)], dim=1))


@pytest.mark.parametrize("length", [1, TAIL, 9, CHUNK + 3])
def test_any_other_length_has_one_tail(projection, length):
    states = draw(2, length, 8)
    added = projection.delta(states)
    assert added.shape == (2, length, 5)
    tail = min(TAIL, length)
    torch.testing.assert_close(added[:, -tail:], F.linear(states[:, -tail:], projection.difference))
    rest = states[:, : length - tail]
    torch.testing.assert_close(added[:, : length - tail], F.linear(rest, projection.up @ projection.down))


def test_an_error_names_the_layer_that_does_not_fit():
    whole = start({LAYER: (8, 5)}, rank=2)
    assert set(projections(whole)) == {LAYER}
    for broken in (
        {name: value for name, value in whole.items() if not name.endswith(".up")},
        {**whole, f"{LAYER}.down": torch.zeros(3, 8)},
        {**whole, f"{LAYER}.up": torch.zeros(5)},
        {"middle_block.1.proj_in.own": torch.zeros(5, 8)},
    ):
        with pytest.raises(ValueError, match="middle_block.1"):
            projections(broken)
    with pytest.raises(ValueError, match="^adapter: expected at least one projection"):
        projections({})
