"""The levels of a strip, the frames that are evaluated once, and the sheet."""

from __future__ import annotations

import pytest
import torch

from safelight.views.contact_sheet import (
    DEFAULT_LEVELS,
    INK,
    PAPER,
    alike,
    captioned,
    labelled,
    read_levels,
    sheet,
    side_by_side,
)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        (DEFAULT_LEVELS, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("1 0", (1.0, 0.0)),
        (" .5;.25\n0.125, ", (0.5, 0.25, 0.125)),
        ("0 .1 .2 .3 .4 .5 .6 .7 1e-1", None),
        ("0 .1 .2 .3 .4 .5 .6 .7 .8", tuple(i / 10 for i in range(9))),
        ("-0, 1", (0.0, 1.0)),
    ],
)
def test_levels_in_the_order_given(text, levels):
    if levels is None:
        with pytest.raises(ValueError, match="^levels: 0.1 is listed twice"):
            read_levels(text)
    else:
        assert read_levels(text) == levels
        assert str(read_levels(text)[0]) in ("0.0", "1.0", "0.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "''"),
        ("  ,;", "''"),
        ("0,5 1", "'5'"),
        ("0, 1.01", "'1.01'"),
        ("nan, 0", "'nan'"),
        ("inf 0", "'inf'"),
        ("-0.1, 1", "'-0.1'"),
        ("low, high", "'low'"),
        ("0.5", "got 1."),
        (None, "NoneType"),
        (0.5, "float"),
        ("0 .1 .2 .3 .4 .5 .6 .7 .8 .9", "got 10."),
        ("0, 0.0", "twice"),
        ("0, -0", "twice"),
    ],
)
def test_levels_that_cannot_be_read_are_named(text, said):
    with pytest.raises(ValueError) as caught:
        read_levels(text)
    assert str(caught.value).startswith("levels: ") and said in str(caught.value)


def test_frames_that_are_alike_stand_together():
    a, b = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    assert alike([a, b, a.clone(), b, a], [0, 0, 0, 0, 0]) == [[0, 2, 4], [1, 3]]
    assert alike([a, a, a], [0.0, 0.5, 0.0]) == [[0, 2], [1]], "equal, and steered differently"
    nearly = a.clone()
    nearly[0, 3, 1, 1] = 1e-7
    assert alike([a, nearly], [1, 1]) == [[0], [1]], "a difference in one value is a difference"
    assert alike([torch.full((1, 2), torch.nan)] * 2, [1, 1]) == [[0], [1]], "no number is like none"


@pytest.mark.parametrize("shape", [(6, 4, 2, 3), (6, 4, 5, 2, 3)])
def test_side_by_side_shows_the_first_picture_of_each_frame(shape):
    frames = torch.randn(shape)
    row = side_by_side(frames, 3)
    assert row.shape == (1, *shape[1:-1], 9)
    for i in range(3):
        assert torch.equal(row[0, ..., 3 * i : 3 * i + 3], frames[2 * i])


def test_sheet_has_every_picture_at_its_place_and_paper_between():
    pictures = torch.rand(2, 3, 40, 64, 3) * 0.5
    labels = torch.zeros(3, 20, 64)
    labels[1, 5, 7] = 1.0
    whole = sheet(pictures, labels)
    gap = 4
    assert whole.shape == (1, 20 + 40 + gap + 40 + gap, gap + 3 * (64 + gap), 3)
    seen = torch.zeros(whole.shape[1:3], dtype=torch.bool)
    for row in range(2):
        for column in range(3):
            y, x = 20 + row * (40 + gap), gap + column * (64 + gap)
            assert torch.equal(whole[0, y : y + 40, x : x + 64], pictures[row, column])
            seen[y : y + 40, x : x + 64] = True
    ink = whole[0, 5, gap + 64 + gap + 7]
    assert float(ink.max()) < 0.3
    seen[5, gap + 64 + gap + 7] = True
    assert torch.allclose(whole[0][~seen], torch.tensor(PAPER))


def test_a_caption_is_over_its_picture_cut_to_its_width_and_dark_where_it_is_marked():
    pictures = torch.rand(2, 1, 40, 64, 3)
    whole = captioned(pictures, [["a knife"], ["nothing found, however long this is"]], [[False], [True]])
    assert whole.shape == (2, 1, 40 + 18, 64, 3) and torch.equal(whole[:, :, 18:], pictures)
    light, dark = whole[:, 0, :18]
    assert torch.allclose(light[0, 0], torch.tensor(PAPER)) and torch.allclose(dark[0, 0], torch.tensor(INK))
    assert light.std() > 0.05 and dark.std() > 0.05
    short = captioned(pictures, [["a knife"], ["n..."]], [[False], [True]])
    assert torch.equal(short[0], whole[0]) and not torch.equal(short[1], whole[1])


def test_the_number_of_a_level_is_never_cut():
    small = torch.ones(2, 1, 16, 16, 3)
    assert not torch.equal(labelled(small, (0.25, 0.5)), labelled(small, (0.75, 0.5)))
