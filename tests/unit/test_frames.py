"""The frames of a strip in one batch: which weight and which mask each picture of each frame has."""

import pytest
import torch

from safelight.guidance.frames import FramesBlend
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.settings import GuidanceSettings

FULL = WeightSchedule(((0.0, 1.0), (1.0, 1.0)))


def blend(weights, pictures, mask=None):
    made = FramesBlend(GuidanceSettings(1.0, FULL, mask=mask))
    made.weights, made.pictures = weights, pictures
    return made


def masks(*values):
    return torch.tensor(values)[:, None, None].expand(-1, 8, 8)


@pytest.mark.parametrize("shape", [(4, 8, 8), (16, 3, 8, 8)], ids=["pictures", "videos"])
@pytest.mark.parametrize("values", [(), (0.4,), (0.4, 0.8)], ids=["no mask", "one", "one for each picture"])
def test_a_frames_pictures_have_its_share_of_the_largest_weight_and_each_its_own_mask(shape, values):
    """Three frames of two pictures each: frame by frame, as the batch of a strip is."""
    made = blend((0.2, 0.8, 0.4), 2, masks(*values) if values else None)
    own = (values[0], values[-1]) if values else (1.0, 1.0)
    cells = made.fitted_mask(torch.zeros(6, *shape)).expand(6, 1, *shape[1:])
    expected = [share * mask for share in (0.25, 1.0, 0.5) for mask in own]
    assert [float(picture.unique()) for picture in cells] == pytest.approx(expected)


def test_frames_of_equal_weight_have_the_mask_alone():
    assert blend((0.5, 0.5), 2).fitted_mask(torch.zeros(4, 4, 8, 8)) is None
    cells = blend((0.5, 0.5), 2, masks(0.4, 0.8)).fitted_mask(torch.zeros(4, 4, 8, 8))
    assert cells[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.8, 0.4, 0.8])


def test_the_mask_follows_the_frames_of_the_next_call():
    """One object serves calls of any number of frames."""
    made = blend((0.2, 0.8, 0.4), 1, masks(0.4))
    made.fitted_mask(torch.zeros(3, 4, 8, 8))
    made.weights = (0.3, 0.6)
    cells = made.fitted_mask(torch.zeros(2, 4, 8, 8))
    assert cells[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4])
