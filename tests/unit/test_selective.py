"""The selective blend's masks, worked by hand on small tensors."""

import math

import pytest
import torch

from safelight.guidance.blend import blend
from safelight.guidance.selective import Selection, alignment, grown, smoothed

PLAIN = {"smooth": 0, "grow": 0}


def predictions(*sizes, channels=1):
    """(D(u), D(s)) of a sample for each list of differences; a row of cells each, [B, C, 1, n]."""
    difference = torch.tensor(sizes)[:, None, None, :]
    u = torch.zeros(len(sizes), channels, 1, len(sizes[0]))
    s = torch.zeros_like(u)
    s[:, :1] = difference
    return u, s


def mask(selection, *sizes, **more):
    return selection.weights(*predictions(*sizes), **more)[:, 0, 0].tolist()


# --- the two masks


def test_quantile_takes_the_share_of_cells_that_differ_most():
    sizes = [1.0, -9.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0, 2.0]
    assert mask(Selection("quantile", quantile=0.8, **PLAIN), sizes) == [[0, 1, 0, 0, 0, 0, 0, 1, 0, 0]]
    assert mask(Selection("quantile", quantile=0.7, **PLAIN), sizes) == [[0, 1, 0, 0, 0, 0, 1, 1, 0, 0]]
    assert mask(Selection("quantile", quantile=0.0, **PLAIN), sizes) == [[1] * 10]


def test_quantile_always_takes_a_cell():
    assert mask(Selection("quantile", quantile=0.99, **PLAIN), [1.0, 2.0, 5.0, 4.0]) == [[0, 0, 1, 0]]


def test_soft_threshold_is_a_ramp_over_the_mean():
    """Mean 2, threshold 1: the ramp goes from 2 to 3."""
    sizes = [0.0, 0.5, 1.5, 2.0, 2.25, -2.75, 3.0, 4.0]
    assert mask(Selection(threshold=1.0, **PLAIN), sizes) == [[0, 0, 0, 0, 0.25, 0.75, 1, 1]]


def test_soft_threshold_never_leaves_out_the_cell_that_differs_most():
    """No cell reaches three times the mean: the ramp ends at the largest, 4, and begins at two thirds of it."""
    found = mask(Selection(threshold=2.0, **PLAIN), [4.0, 3.0, 2.0, 3.5, 4.0, 0.0])[0]
    assert found == pytest.approx([1.0, 0.25, 0.0, 0.625, 1.0, 0.0])
    draw = torch.Generator().manual_seed(3)
    sizes = torch.rand(200, 1, 7, 7, generator=draw)
    for mode in ("soft threshold", "quantile"):
        for smooth in (0, 1, 3):
            found = Selection(mode, smooth=smooth).weights(torch.zeros_like(sizes), sizes)
            assert torch.equal(found.amax(dim=(1, 2, 3)), torch.ones(200))
            assert (found.amin(dim=(1, 2, 3)) == 0.0).any()


@pytest.mark.parametrize("mode", ["soft threshold", "quantile"])
def test_where_nothing_stands_out_nothing_is_left_out(mode):
    assert mask(Selection(mode), [2.0] * 5) == [[1] * 5]
    assert mask(Selection(mode), [0.0] * 5) == [[1] * 5]


def test_the_size_of_a_difference_is_its_length_over_the_channels():
    """3 and 4 in two channels are longer than 4.5 in one; opposite signs do not cancel."""
    u, s = torch.zeros(1, 2, 1, 3), torch.tensor([[[[3.0, 4.5, 2.0]], [[-4.0, 0.0, -2.0]]]])
    assert Selection("quantile", quantile=2 / 3, **PLAIN).weights(u, s).flatten().tolist() == [1, 0, 0]


# --- smoothing and growing


def test_smoothing_is_the_binomial_mean_in_the_picture():
    spot = torch.zeros(1, 1, 5, 5)
    spot[0, 0, 2, 2] = 16.0
    row = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0])
    assert torch.equal(smoothed(spot, 1)[0, 0], row[:, None] * row)
    corner = torch.zeros(1, 1, 3, 3)
    corner[0, 0, 0, 0] = 16.0
    edge = torch.tensor([3.0, 1.0, 0.0])  # a cell at the edge has itself for a neighbour
    assert torch.equal(smoothed(corner, 1)[0, 0], edge[:, None] * edge)
    assert torch.equal(smoothed(spot, 0), spot)
    assert smoothed(spot, 2)[0, 0, 2, 0] == 16.0 / 16 * 6 / 16


def test_smoothing_drops_a_speck_and_keeps_a_patch():
    """A lone cell differs most, but four beside each other differ more than their neighbourhood."""
    u, s = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    s[0, 0, 1, 1], s[0, 0, 5:7, 5:7] = 1.2, 1.0
    rough = Selection("quantile", quantile=63 / 64, smooth=0).weights(u, s)[0, 0]
    smooth = Selection("quantile", quantile=60 / 64, smooth=1).weights(u, s)[0, 0]
    assert rough.nonzero().tolist() == [[1, 1]]
    assert smooth.nonzero().tolist() == [[5, 5], [5, 6], [6, 5], [6, 6]]


def test_growing_widens_by_that_many_cells_in_a_square():
    spot = torch.zeros(1, 1, 6, 7)
    spot[0, 0, 1, 4] = 0.5
    wide = grown(spot, 2)[0, 0]
    assert wide.nonzero().amin(dim=0).tolist() == [0, 2] and wide.nonzero().amax(dim=0).tolist() == [3, 6]
    assert torch.equal(wide[:4, 2:], torch.full((4, 5), 0.5))
    assert torch.equal(grown(spot, 0), spot)


def test_frames_are_not_neighbours_but_one_sample():
    """Video, [B, C, T, h, w]: a change in one frame does not reach the others; the share is that of the whole clip."""
    u, s = torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 2, 3, 4, 4)
    s[0, :, 1, 1, 1] = 1.0
    found = Selection("quantile", quantile=1 - 9 / 48, smooth=1, grow=1).weights(u, s)
    assert found.shape == (1, 1, 3, 4, 4)
    assert not found[0, 0, 0].any() and not found[0, 0, 2].any() and found[0, 0, 1].all()


@pytest.mark.parametrize("shape", [(2, 4, 16), (2, 4, 6, 6), (1, 4, 2, 6, 6)])
@pytest.mark.parametrize("mode", ["soft threshold", "quantile"])
def test_any_number_of_dimensions(mode, shape):
    draw = torch.Generator().manual_seed(4)
    found = Selection(mode, smooth=2, grow=1).weights(torch.zeros(shape), torch.randn(shape, generator=draw))
    assert found.shape == (shape[0], 1, *shape[2:])
    assert found.dtype == torch.float32 and 0.0 <= float(found.min()) < float(found.max()) <= 1.0


# --- where it may choose


def test_it_chooses_among_the_cells_it_may_choose():
    """Half the row is out of bounds, with the largest differences in it: the share is that of the other half."""
    sizes = [9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0]
    where = torch.tensor([False] * 4 + [True] * 4).reshape(1, 1, 1, 8)
    assert mask(Selection("quantile", quantile=0.75, **PLAIN), sizes, where=where) == [[0, 0, 0, 0, 0, 0, 0, 1]]
    soft = mask(Selection(threshold=1.0, **PLAIN), sizes, where=where)[0]  # mean 2.5
    assert soft == pytest.approx([0, 0, 0, 0, 0, 0, 0.4, 1])


def test_smoothing_draws_nothing_from_where_it_may_not_choose():
    where = torch.tensor([False] + [True] * 7).reshape(1, 1, 1, 8)
    sizes = [100.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0]
    found = mask(Selection("quantile", quantile=6 / 7, smooth=1, grow=0), sizes, where=where)
    assert found == [[0, 0, 0, 0, 0, 0, 1, 0]]


@pytest.mark.parametrize(("quantile", "cells"), [(0.86, 1), (0.84, 2), (0.83, 2), (0.76, 2), (0.74, 3)])
def test_the_number_of_cells_is_the_nearest_to_the_share(quantile, cells):
    """Of ten."""
    found = mask(Selection("quantile", quantile=quantile, **PLAIN), [float(i) for i in range(10)])
    assert sum(found[0]) == cells


@pytest.mark.parametrize("mode", ["soft threshold", "quantile"])
def test_where_it_may_choose_no_cell_it_leaves_out_none(mode):
    where = torch.tensor([[True] * 4, [False] * 4])[:, None, None]
    found = mask(Selection(mode, **PLAIN), [1.0, 1.0, 9.0, 1.0], [1.0, 1.0, 9.0, 1.0], where=where)
    assert found == [[0, 0, 1, 0], [1, 1, 1, 1]]


# --- fail closed, sample by sample


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("mode", ["soft threshold", "quantile"])
def test_a_sample_with_a_difference_that_is_no_number_is_guided_everywhere(mode, adaptive, bad):
    u, s = predictions([1.0, 5.0, 1.0, 1.0, 1.0, 1.0], [1.0, bad, 1.0, 1.0, 1.0, 1.0])
    found = Selection(mode, adaptive=adaptive, **PLAIN).weights(u, s, torch.full_like(u, -1.0))[:, 0, 0]
    assert torch.equal(found[1], torch.ones(6))
    assert found[0, 1] > 0.0 and not found[0, 0]


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("mode", ["soft threshold", "quantile"])
def test_a_batch_gets_what_each_sample_alone_gets(mode, adaptive):
    draw = torch.Generator().manual_seed(5)
    u, s, base = (torch.randn(3, 4, 8, 8, generator=draw) for _ in range(3))
    s[1] = u[1] + 100 * (s[1] - u[1])
    where = torch.rand(3, 1, 8, 8, generator=draw) < 0.7
    selection = Selection(mode, smooth=1, grow=1, adaptive=adaptive)
    together = selection.weights(u, s, base, where)
    for i in range(3):
        part = slice(i, i + 1)
        assert torch.equal(together[part], selection.weights(u[part], s[part], base[part], where[part]))


def test_outside_its_mask_the_blend_is_the_written_prediction():
    draw = torch.Generator().manual_seed(6)
    u, s = (torch.randn(2, 4, 8, 8, generator=draw) for _ in range(2))
    weight = Selection().weights(u, s)
    merged, outside = blend(u, s, 0.7 * weight), (weight == 0.0).expand(u.shape)
    assert torch.equal(merged[outside], u[outside]) and outside.any()
    full = (weight == 1.0).expand(u.shape)
    assert torch.equal(blend(u, s, 1.0 * weight)[full], s[full]) and full.any()


# --- alignment


def test_alignment_is_the_cosine_of_each_sample_and_not_below_zero():
    added = torch.tensor([[[3.0, 4.0]], [[3.0, 4.0]], [[3.0, 4.0]], [[0.0, 0.0]]])
    unsafe = torch.tensor([[[6.0, 8.0]], [[4.0, 3.0]], [[-3.0, 1.0]], [[1.0, 0.0]]])
    assert alignment(added, unsafe).tolist() == pytest.approx([1.0, 0.96, 0.0, 1.0])


def test_adaptive_scales_between_a_half_and_the_whole():
    """What the prompt adds, D(u) - D(0), is along what the safe prompt takes away, across it, and against it."""
    u = torch.zeros(3, 2, 1, 4)
    s, base = u.clone(), u.clone()
    s[:, 0, 0, 0] = -1.0
    base[0, 0, 0, 0], base[1, 1, 0, 0], base[2, 0, 0, 0] = -2.0, -2.0, 2.0
    selection = Selection("quantile", quantile=0.75, adaptive=True, **PLAIN)
    assert selection.weights(u, s, base)[:, 0, 0, 0].tolist() == [1.0, 0.5, 0.5]
    assert not selection.weights(u, s, base)[..., 1:].any()
    assert selection.weights(u, s, None)[:, 0, 0, 0].tolist() == [1.0, 1.0, 1.0]


# --- settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mode": "hard"}, "mode"),
        ({"quantile": 1.0}, "quantile"),
        ({"quantile": -0.1}, "quantile"),
        ({"quantile": math.nan}, "quantile"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"smooth": -1}, "smooth"),
        ({"smooth": 1.5}, "smooth"),
        ({"grow": 99}, "grow"),
    ],
)
def test_settings_that_mean_nothing_are_errors_that_name_them(settings, named):
    with pytest.raises(ValueError, match=f"^{named}: "):
        Selection(**settings)
