"""The artist's mask: what is read of it, and which cell of which picture it falls on."""

import math

import pytest
import torch

from safelight.guidance.mask import fit_mask, read_mask


def plain(*values, size=8):
    """One mask for each value, the same everywhere."""
    return torch.tensor(values)[:, None, None].expand(-1, size, size).clone()


def values_of(fitted):
    """The one value that each picture has, or each frame of it."""
    assert torch.equal(fitted.amax(dim=(-1, -2)), fitted.amin(dim=(-1, -2)))
    return fitted[..., 0, 0].squeeze(1).tolist()


def test_masks_go_to_the_pictures_of_a_batch_in_turn():
    """With two masks the first is that of pictures 0, 2, 4, as the host deals out masks and latents."""
    masks = plain(0.1, 0.9)
    for pictures, expected in ((1, [0.1]), (2, [0.1, 0.9]), (4, [0.1, 0.9, 0.1, 0.9]), (5, [0.1, 0.9] * 2 + [0.1])):
        fitted = fit_mask(masks, torch.zeros(pictures, 4, 4, 4))
        assert fitted.shape == (pictures, 1, 4, 4)
        assert values_of(fitted) == pytest.approx(expected)
    assert values_of(fit_mask(plain(0.1, 0.5, 0.9), torch.zeros(4, 4, 4, 4))) == pytest.approx([0.1, 0.5, 0.9, 0.1])


def test_masks_go_to_the_videos_of_a_batch_in_turn_and_hold_for_all_their_frames():
    fitted = fit_mask(plain(0.1, 0.9), torch.zeros(4, 16, 3, 4, 4))
    assert fitted.shape == (4, 1, 1, 4, 4)
    assert values_of(fitted) == [[pytest.approx(value)] for value in (0.1, 0.9, 0.1, 0.9)]


def test_masks_go_to_the_frames_of_a_single_video_in_their_order():
    x = torch.zeros(1, 16, 3, 4, 4)
    assert values_of(fit_mask(plain(0.1, 0.5, 0.9), x)) == [pytest.approx([0.1, 0.5, 0.9])]
    # Twice as many as the latent has frames: each frame gets the mean of its two.
    assert values_of(fit_mask(plain(0.1, 0.3, 0.4, 0.6, 0.7, 0.9), x)) == [pytest.approx([0.2, 0.5, 0.8])]


@pytest.mark.parametrize("shape", [(3, 4, 4, 4), (3, 16, 5, 4, 4), (1, 16, 5, 4, 4)])
def test_one_mask_holds_for_everything(shape):
    x = torch.zeros(shape)
    fitted = fit_mask(plain(0.3), x)
    assert fitted.expand(shape[0], 1, *shape[2:]).unique().tolist() == [pytest.approx(0.3)]
    assert fitted.dtype == x.dtype


def test_a_cell_gets_the_mean_of_the_mask_over_it():
    """A stroke one pixel wide counts for what it covers; right and left, top and bottom stay where they are."""
    mask = torch.zeros(1, 8, 16)
    mask[0, 1, :8] = 1.0
    fitted = fit_mask(mask, torch.zeros(1, 4, 2, 4))
    assert fitted[0, 0].tolist() == [[0.25, 0.25, 0.0, 0.0], [0.0] * 4]


def test_latents_without_a_picture_plane_are_refused():
    with pytest.raises(ValueError, match="^mask: .*3 dimensions"):
        fit_mask(plain(0.5), torch.zeros(1, 4, 16))


def test_values_beyond_the_range_count_as_its_ends():
    mask = torch.tensor([[[-3.0, 0.5], [7.0, 1.0]]])
    assert read_mask(mask).tolist() == [[[0.0, 0.5], [1.0, 1.0]]]
    assert read_mask(plain(7.0)) is None, "full everywhere is no mask"


def test_a_mask_is_none_only_where_it_is_full_everywhere():
    almost = plain(1.0, 1.0)
    assert read_mask(almost) is None
    almost[1, 3, 3] = 0.99
    assert torch.equal(read_mask(almost), almost)


def test_every_mask_has_to_guard_something():
    """One empty mask among painted ones would leave its pictures unguarded."""
    assert read_mask(plain(0.2, 0.4)).shape == (2, 8, 8)
    for values in ((0.2, 0.0), (0.0, 0.2), (0.0,), (-1.0,)):
        with pytest.raises(ValueError, match="^mask: .*empty mask"):
            read_mask(plain(*values))


def test_one_value_that_is_not_a_number_is_enough_to_refuse_a_mask():
    for bad in (math.nan, math.inf):
        mask = plain(0.5, 0.5)
        mask[1, 2, 3] = bad
        with pytest.raises(ValueError, match="^mask: .*not numbers"):
            read_mask(mask)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 1, 8, 8)])
def test_a_mask_may_come_without_a_batch_or_with_a_channel(shape):
    assert read_mask(torch.full(shape, 0.5)).shape == (1, 8, 8)
