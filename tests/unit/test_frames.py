"""The frames of a strip in one batch: which weight and which mask each picture of each frame has."""

import pytest
import torch

from safelight.guidance.blend import NEGATIVE, POSITIVE, SAFE
from safelight.guidance.dual import DualBlend
from safelight.guidance.frames import FramesBlend
from safelight.guidance.method import Step
from safelight.guidance.schedule import WeightSchedule
from safelight.guidance.settings import GuidanceSettings

FULL = WeightSchedule(((0.0, 1.0), (1.0, 1.0)))


def blend(weights, pictures, mask=None):
    made = FramesBlend(GuidanceSettings(1.0, FULL, mask=mask), len(weights))
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


def test_with_economy_each_frame_remembers_for_itself():
    """Three frames of two pictures, on calls whose predictions differ, beside a blend of each frame alone."""
    settings, weights, numbers = GuidanceSettings(1.0, FULL, economy="free"), (0.9, 0.2, 0.2), [[0], [1, 2]]
    frames, singles = FramesBlend(settings, 3), [DualBlend(settings) for _ in weights]
    for each in (frames, *singles):
        each.begin(20)
    seen = set()
    for call in range(12):
        drawn = torch.randn(4, 6, 4, 2, 2, generator=torch.Generator().manual_seed(call))
        drawn[:, 4:] = drawn[:, 2:4]  # the last two frames are equal

        def step(weight, part, x=drawn[0], call=call):
            sigma = torch.full((len(x[part]),), 3.0 / (call + 1))
            return Step(x[part], sigma, weight, call, frozenset((POSITIVE, SAFE)), True, {}.get, lambda: 0)

        def denoised(needs, part, drawn=drawn):
            given = zip((POSITIVE, SAFE, NEGATIVE), drawn[1:], strict=True)
            return {name: each[part] for name, each in given if name in (*needs.conds, NEGATIVE)}

        chosen = []
        for i, weight in enumerate(weights):
            frames.weights, frames.pictures = [weight], 2
            chosen.append(frames.choose(i, step(weight, slice(2 * i, 2 * i + 2))))
        for stand_in, *others in numbers:  # each frame as a call of its own here
            part = slice(2 * stand_in, 2 * stand_in + 2)
            frames.weights, frames.alike, frames.chosen = [weights[stand_in]], [[stand_in, *others]], chosen[stand_in]
            alone = step(weights[stand_in], part)
            needs = singles[stand_in].needs(alone)
            assert frames.needs(alone) == needs == chosen[stand_in]
            given = denoised(needs, part)
            expected = singles[stand_in].combine(alone, given).cond
            assert torch.equal(frames.combine(alone, given).cond, expected)
        seen |= {needs.conds for needs in chosen}
    assert seen == {(POSITIVE, SAFE), (POSITIVE,), (SAFE,)}
    together = slice(0, 4)
    frames.weights, frames.alike, frames.chosen = weights[:2], numbers, chosen[1]
    before = frames.combine(step(0.9, together), denoised(chosen[1], together)).cond
    assert before.shape == (4, 4, 2, 2)
