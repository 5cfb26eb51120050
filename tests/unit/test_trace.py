"""The trace of a run, and the pictures that are drawn from it."""

from __future__ import annotations

import math

import pytest
import torch

from safelight.views.heat_map import DIM, FLOOR, STRIP_SIZE, colours, heat, heat_map, sheet, strip
from safelight.views.trace import Trace, lost_magnitude, max_pool_cells


def cells(*values, channels=1):
    """A prediction [1, channels, 1, len(values)] with the same values in every channel."""
    return torch.tensor(values).reshape(1, 1, 1, -1).expand(1, channels, 1, len(values)).clone()


def test_a_change_counts_by_its_size_in_each_cell_and_picture():
    trace = Trace()
    trace.add(5.0, 0.2, torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 2.0]]]]), 0.5)
    (call,) = trace.calls
    assert (call.sigma, call.progress, call.weight, call.estimated) == (5.0, 0.2, 0.5, False)
    assert call.sizes == pytest.approx((2.5, 1.0))  # sqrt((9 + 16) / 4), sqrt(4 / 4)
    expected = torch.tensor([[[math.sqrt(12.5), 0.0]], [[0.0, math.sqrt(2.0)]]])
    assert torch.allclose(trace.cells(), expected)


def test_calls_without_a_change_do_not_dilute_the_map():
    trace = Trace()
    trace.add(9.0, 0.1, None, 0.0)
    trace.positive_alone(8.0, 0.15, cells(0.0, 0.0))
    trace.add(5.0, 0.2, cells(3.0, 0.0))
    trace.add(4.0, 0.3, cells(4.0, 1.0))
    assert torch.allclose(trace.cells(), torch.tensor([[[math.sqrt(12.5), math.sqrt(0.5)]]]))
    assert [call.sizes for call in trace.calls][:2] == [(), ()]
    assert not trace.estimated


def test_a_run_forgets_the_one_before():
    trace = Trace()
    trace.add(5.0, 0.2, cells(1.0, 2.0))
    trace.begin()
    assert trace.calls == [] and trace.cells() is None


def test_what_is_lost_is_what_stood_out_and_is_gone():
    before = cells(0.0, 0.0, 0.0, 2.0, -4.0)  # over a background of 0
    assert torch.equal(
        lost_magnitude(before, cells(0.0, 0.0, 0.0, 2.0, -1.0)), torch.tensor([[[0.0, 0.0, 0.0, 0.0, 3.0]]])
    )
    assert not lost_magnitude(before, cells(0.0, 0.0, 0.0, 3.0, -9.0)).any(), "growth is no loss"
    assert not lost_magnitude(before, before + 7.0).any(), "nor is another background"
    assert torch.equal(
        lost_magnitude(before, cells(0.0, 0.0, 0.0, -1.0, -4.0)), torch.tensor([[[0.0, 0.0, 0.0, 3.0, 0.0]]])
    )
    assert torch.allclose(lost_magnitude(before.expand(1, 4, 1, 5), torch.zeros(1, 4, 1, 5)), before.abs()[:, 0]), (
        "any channels"
    )


def test_the_safe_prompt_alone_is_compared_with_the_written_one_less_what_changed_by_itself():
    trace = Trace()
    trace.positive_alone(9.0, 0.1, cells(5.0, 0.0, 0.0, 0.0, 4.0, 0.0, 5.0))
    trace.positive_alone(8.0, 0.2, cells(5.0, 0.0, 0.0, 0.0, 4.0, 0.0, 4.0))  # the last cell changes by 1
    trace.safe_alone(7.0, 0.3, cells(4.5, 0.0, 0.0, 0.0, 4.0, 0.0, 1.0))  # .5 and 3 of it gone
    trace.safe_alone(6.0, 0.4, cells(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert trace.estimated
    assert torch.allclose(trace.cells(), torch.tensor([[[0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]]]))
    assert [call.estimated for call in trace.calls] == [False, False, True, False]
    assert trace.calls[2].sizes == pytest.approx((math.sqrt(4.25 / 7),))
    assert trace.calls[3].sizes is None, "later calls are not measured"


def test_what_a_sampler_does_to_a_prediction_afterwards_changes_nothing():
    trace, prediction = Trace(), cells(0.0, 0.0, 0.0, 4.0)
    trace.positive_alone(8.0, 0.2, prediction)
    prediction.zero_()
    trace.safe_alone(7.0, 0.3, prediction)
    assert torch.equal(trace.cells(), cells(0.0, 0.0, 0.0, 4.0)[:, 0])


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 5), (2, 3, 5, 5)])
def test_the_max_pool_cells_a_cell_reaches_one_cell_in_each_direction(shape):
    single = torch.zeros(shape)
    middle = tuple(side // 2 for side in shape[1:])
    single[(0, *middle)] = 3.0
    around = max_pool_cells(single)
    assert around.shape == shape
    assert int((around[0] == 3.0).sum()) == 3 ** (len(shape) - 1)
    assert around[(0, *middle)] == 3.0 and not around[1].any()


def test_the_written_prompt_that_takes_over_shows_what_had_been_kept_out():
    trace = Trace()
    trace.safe_alone(9.0, 0.0, cells(5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0))
    trace.safe_alone(8.0, 0.1, cells(5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0))
    trace.positive_alone(7.0, 0.2, cells(5.5, 0.0, 0.0, 0.0, 3.0, 0.0, 7.0))  # the last cell may have changed by itself
    trace.positive_alone(6.0, 0.3, cells(9.0, 0.0, 0.0, 0.0, 9.0, 0.0, 9.0))
    assert trace.estimated
    assert torch.allclose(trace.cells(), torch.tensor([[[0.5, 0.0, 0.0, 0.0, 3.0, 0.0, 2.0]]]))
    assert [call.sizes is None for call in trace.calls] == [True, True, False, False]
    assert [call.estimated for call in trace.calls] == [False, False, True, False]


@pytest.mark.parametrize("before", [None, 0.5, "measured between"])
def test_the_safe_prompt_alone_is_not_measured_without_a_written_call_just_before(before):
    trace = Trace()
    if before is not None:
        trace.positive_alone(5.0 if before == "measured between" else before, 0.1, cells(0.0, 0.0, 3.0))
    if before == "measured between":
        trace.add(4.5, 0.2, cells(0.1, 0.1, 0.1), 0.5)
    trace.safe_alone(4.0, 0.3, cells(0.0, 0.0, 0.0))
    assert trace.calls[-1].sizes is None and not trace.estimated


def test_measured_calls_stand_before_estimated_ones():
    trace = Trace()
    trace.positive_alone(8.0, 0.2, cells(0.0, 0.0, 0.0, 9.0))
    trace.safe_alone(7.0, 0.3, cells(0.0, 0.0, 0.0, 0.0))
    trace.add(6.0, 0.4, cells(0.5, 0.0, 0.0, 0.0), 0.5)
    assert not trace.estimated
    assert torch.allclose(trace.cells(), cells(0.5, 0.0, 0.0, 0.0)[:, 0])


def run_of(change):
    trace = Trace()
    trace.add(5.0, 0.5, change, 0.5)
    return trace


def test_heat_is_per_picture_and_full_where_the_change_was_largest():
    change = torch.zeros(2, 4, 4, 4)
    change[0, :, :2], change[1, :, :, 3] = 4.0, 1.0
    drawn = heat(run_of(change), 2, 32, 64)
    assert drawn.shape == (2, 32, 64)
    assert float(drawn[0].max()) == float(drawn[1].max()) == 1.0
    assert drawn[0, :8].min() == 1.0 and drawn[0, 24:].max() == 0.0
    assert drawn[1, :, 60:].min() == 1.0 and drawn[1, :, :32].max() == 0.0


def test_next_to_nothing_does_not_light_up():
    drawn = heat(run_of(torch.full((1, 4, 4, 4), 0.01)), 1, 8, 8)
    assert drawn.max() == pytest.approx(0.01 / FLOOR)
    assert not heat(Trace(), 3, 8, 8).any()


def test_frames_of_a_video_are_pictures():
    """Also where the decoder made more frames than the latent has."""
    change = torch.zeros(2, 4, 3, 4, 4)
    change[0, :, 0], change[1, :, 2] = 2.0, 2.0
    for frames in (3, 9):
        glow = heat(run_of(change), 2 * frames, 8, 8).flatten(1).mean(dim=1).reshape(2, frames)
        assert glow[0, 0] == glow[1, -1] == 1.0
        assert glow[0, -1] == glow[1, 0] == 0.0


@pytest.mark.parametrize("shape, count", [((2, 4, 4, 4), 3), ((2, 4, 4, 4), 4), ((2, 4, 3, 4, 4), 5)])
def test_another_number_of_pictures_is_an_error_that_names_the_inputs(shape, count):
    with pytest.raises(ValueError, match=r"^image: .* `trace`"):
        heat(run_of(torch.ones(shape)), count, 8, 8)


def test_latents_without_a_picture_plane_are_an_error():
    with pytest.raises(ValueError, match=r"^trace: "):
        heat(run_of(torch.ones(1, 4, 16)), 1, 8, 8)


def test_the_map_is_the_dimmed_grey_picture_where_nothing_changed_and_the_scale_where_most_did():
    image = torch.rand(1, 1, 2, 3)
    drawn = heat_map(torch.tensor([[[0.0, 1.0]]]), image)
    assert torch.allclose(drawn[0, 0, 0], (DIM * image[0, 0, 0].mean()).expand(3))
    assert torch.allclose(drawn[0, 0, 1], colours(torch.tensor(1.0)))


def test_more_heat_is_always_lighter():
    """Luminance tells the order, whichever colours a reader sees."""
    light = colours(torch.linspace(0, 1, 101)) @ torch.tensor([0.2126, 0.7152, 0.0722])
    assert (light.diff() > 0).all()
    assert light[0] < 0.01 and light[-1] > 0.9


def bar_height(drawn, x, channel_colour):
    """How many rows of the column at x have that colour."""
    return int((drawn[:, x] - torch.tensor(channel_colour)).abs().amax(dim=-1).lt(0.02).sum())


def test_the_strip_shows_size_over_progress():
    trace = Trace()
    trace.positive_alone(9.0, 0.0, torch.zeros(2, 1, 1, 2))
    trace.add(5.0, 0.5, torch.tensor([2.0, 4.0]).reshape(2, 1, 1, 1).expand(2, 1, 1, 2), 0.5)
    trace.add(4.0, 0.75, torch.tensor([1.0, 4.0]).reshape(2, 1, 1, 1).expand(2, 1, 1, 2), 0.5)
    drawn = strip(trace)
    assert drawn.shape == (2, *STRIP_SIZE, 3)
    bar = drawn[0, 100, 12 + round(487 * 0.5)].tolist()  # the colour of a bar
    whole = bar_height(drawn[0], 12 + round(487 * 0.5), bar)
    assert whole > 0.8 * STRIP_SIZE[0]
    assert bar_height(drawn[0], 12 + round(487 * 0.75), bar) == pytest.approx(whole / 2, abs=1)
    assert bar_height(drawn[1], 12 + round(487 * 0.75), bar) == whole
    assert bar_height(drawn[0], 12, bar) == bar_height(drawn[0], 12 + round(487 * 0.6), bar) == 0
    behind = drawn[0, 140, 12 + round(487 * 0.6)].tolist()  # the weight, at half height, from the first call on
    assert bar_height(drawn[0], 12 + round(487 * 0.6), behind) == pytest.approx(whole / 2, abs=1)
    assert bar_height(drawn[0], 12 + round(487 * 0.4), behind) == 0


def test_the_strip_of_a_run_that_was_not_guided_is_an_empty_axis():
    (drawn,) = strip(Trace())
    assert len(drawn.flatten(0, 1).unique(dim=0)) == 2


def test_a_sheet_is_the_map_over_its_strip():
    """Pictures of a batch have one each, frames of a video share theirs; a dark run has one for all."""
    height, width = STRIP_SIZE
    strips = torch.stack([torch.full((height, width, 3), 0.2), torch.full((height, width, 3), 0.4)])
    drawn = sheet(torch.ones(4, 8, 16, 3), strips)
    assert drawn.shape == (4, width // 2 + height, width, 3)
    assert (drawn[:, : width // 2] == 1.0).all()
    assert torch.allclose(drawn[:, -1, 0, 0], torch.tensor([0.2, 0.2, 0.4, 0.4]))
    assert sheet(torch.ones(3, 600, 600, 3), strips[:1]).shape == (3, 600 + round(height * 600 / width), 600, 3)


def test_a_strip_of_calls_that_were_not_measured_has_no_bars_of_size():
    trace = Trace()
    for step in range(4):
        trace.safe_alone(4.0 - step, step / 4, torch.ones(1, 1, 2, 2))
    measured = run_of(torch.ones(1, 1, 2, 2))
    orange = strip(measured)[0, 100, 12 + round(487 * 0.5)]
    assert not (strip(trace) == orange).all(dim=-1).any()
    assert (strip(measured) == orange).all(dim=-1).any()
