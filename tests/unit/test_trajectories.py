import math

import pytest
import torch

from safelight.guidance.schedule import PRESETS, WeightSchedule
from safelight.guidance.trajectories import correlation, merge_trajectories, merge_weight

VIDEO, PICTURE = (2, 16, 3, 24, 24), (3, 4, 64, 64)


def branches(shape, sigma, rho, signal=1.0, seed=10):
    """Two smooth pictures under noises of size 1 with correlation rho: (z_u, z_s, denoised_u, denoised_s)."""
    draw = torch.Generator().manual_seed(seed)
    shared, own, picture_u, picture_s = (torch.randn(shape, generator=draw) for _ in range(4))
    other = rho * shared + math.sqrt(1 - rho * rho) * own
    return signal * picture_u + sigma * shared, signal * picture_s + sigma * other, picture_u, picture_s


def noise_size(z, picture, sigma):
    return ((z - picture) / sigma).flatten(1).pow(2).mean(dim=1).sqrt()


@pytest.mark.parametrize("shape", [PICTURE, VIDEO])
@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("weight", [0.1, 0.5, 0.8])
def test_the_merge_keeps_the_size_of_the_noise_and_the_mean_of_the_pictures(shape, rho, weight):
    sigma = 1.7
    z_u, z_s, d_u, d_s = branches(shape, sigma, rho)
    merged = merge_trajectories(z_u, z_s, d_u, d_s, sigma, weight)
    picture = (1 - weight) * d_u + weight * d_s
    assert torch.allclose(noise_size(merged, picture, sigma), torch.ones(shape[0]), atol=0.02)


@pytest.mark.parametrize("rho", [-0.95, 0.0, 0.9])
def test_the_merge_gives_back_the_noise_that_a_plain_average_loses(rho):
    """It is the average with its noise, and its noise alone, divided by what averaging has left of it."""
    sigma = 1.7
    z_u, z_s, d_u, d_s = branches(PICTURE, sigma, rho)
    average, picture = (z_u + z_s) / 2, (d_u + d_s) / 2
    left = math.sqrt((1 + rho) / 2)
    assert torch.allclose(noise_size(average, picture, sigma), torch.full((3,), left), atol=0.02)
    merged = merge_trajectories(z_u, z_s, d_u, d_s, sigma, 0.5)
    assert torch.allclose(noise_size(merged, picture, sigma), torch.ones(3), atol=0.02)
    assert torch.allclose((merged - picture) * left, average - picture, atol=0.05 * sigma)


def test_the_merge_by_hand():
    # Noises (1, 0) and (0, 1): rho 0, r = sqrt(.25^2 + .75^2) = sqrt(.625)
    d_u, d_s = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 5.0]])
    z_u, z_s = d_u + 2.0 * torch.tensor([[1.0, 0.0]]), d_s + 2.0 * torch.tensor([[0.0, 1.0]])
    merged = merge_trajectories(z_u, z_s, d_u, d_s, 2.0, 0.25)
    r = math.sqrt(0.625)
    assert torch.allclose(merged, torch.tensor([[1.5 + 2 * 0.75 / r, 2.0 + 2 * 0.25 / r]]))


def test_a_flow_latent_keeps_its_picture_at_its_own_scale():
    sigma = 0.4
    z_u, z_s, d_u, d_s = branches(PICTURE, sigma, 0.3, signal=1 - sigma)
    merged = merge_trajectories(z_u, z_s, d_u, d_s, sigma, 0.5, signal=1 - sigma)
    picture = (1 - sigma) * (d_u + d_s) / 2
    assert torch.allclose(noise_size(merged, picture, sigma), torch.ones(3), atol=0.02)
    residue = (merged - picture).flatten()
    assert abs(torch.corrcoef(torch.stack([residue, picture.flatten()]))[0, 1]) < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_identical_branches_come_back_bit_for_bit(dtype):
    z, _, d, _ = (t.to(dtype) for t in branches(PICTURE, 3.3, 0.2))
    merged = merge_trajectories(z, z.clone(), d, d.clone(), 3.3, 0.37)
    assert merged.dtype == dtype and torch.equal(merged, z)


@pytest.mark.parametrize("shape", [PICTURE, VIDEO])
def test_weights_zero_and_one_are_the_branches_themselves(shape):
    z_u, z_s, d_u, d_s = branches(shape, 1.7, 0.5)
    assert torch.equal(merge_trajectories(z_u, z_s, d_u, d_s, 1.7, 0.0), z_u)
    assert torch.equal(merge_trajectories(z_u, z_s, d_u, d_s, 1.7, 1.0), z_s)
    weight = torch.full((shape[0], 1, *shape[2:]), 0.5)
    weight[..., :4] = 0.0
    merged = merge_trajectories(z_u, z_s, d_u, d_s, 1.7, weight)
    assert torch.equal(merged[..., :4], z_u[..., :4]) and not torch.equal(merged, z_u)


def test_each_sample_is_merged_by_itself():
    first, second = branches(PICTURE, 2.0, 0.9, seed=11), branches(PICTURE, 2.0, -0.3, seed=12)
    together = merge_trajectories(*(torch.cat(pair) for pair in zip(first, second, strict=True)), 2.0, 0.5)
    apart = torch.cat([merge_trajectories(*branch, 2.0, 0.5) for branch in (first, second)])
    assert torch.allclose(together, apart, atol=1e-6)
    half_same = [
        torch.cat([first[0], second[0]]),
        torch.cat([first[0], second[1]]),
        torch.cat([first[2], second[2]]),
        torch.cat([first[2], second[3]]),
    ]
    assert torch.equal(merge_trajectories(*half_same, 2.0, 0.5)[:3], first[0])


def test_a_sample_whose_branches_agree_in_a_part_only_is_merged_as_a_whole():
    """The noise is scaled for the whole sample, so that the part in which they agree is scaled as well."""
    z_u, z_s, d_u, d_s = branches((1, 4, 16, 16), 2.0, 0.0)
    z_s[..., :8], d_s[..., :8] = z_u[..., :8], d_u[..., :8]
    merged = merge_trajectories(z_u, z_s, d_u, d_s, 2.0, 0.5)
    assert not torch.allclose(merged[..., 8:], z_u[..., 8:], atol=0.1)
    assert not torch.allclose(merged[..., :8], z_u[..., :8], atol=0.1)


def test_a_noise_level_for_each_sample():
    levels = torch.tensor([0.5, 1.0, 4.0])
    singles = [branches((1, 4, 8, 8), float(level), 0.2, seed=20 + i) for i, level in enumerate(levels)]
    together = merge_trajectories(*(torch.cat(parts) for parts in zip(*singles, strict=True)), levels, 0.3)
    apart = [merge_trajectories(*s, float(level), 0.3) for s, level in zip(singles, levels, strict=True)]
    assert torch.allclose(together, torch.cat(apart), atol=1e-6)


def test_noises_that_cancel_stay_finite():
    z_u, z_s, d_u, d_s = branches(PICTURE, 2.0, -1.0)
    assert merge_trajectories(z_u, z_s, d_u, d_s, 2.0, 0.5).isfinite().all()
    assert merge_trajectories(d_u, d_s, d_u, d_s, 2.0, 0.5).isfinite().all()


def test_no_noise_left_and_weights_out_of_range_are_refused():
    z_u, z_s, d_u, d_s = branches(PICTURE, 2.0, 0.0)
    for sigma in (0.0, -1.0, math.nan, torch.tensor([1.0, 0.0, 1.0])):
        with pytest.raises(ValueError, match="^merge_at: "):
            merge_trajectories(z_u, z_s, d_u, d_s, sigma, 0.5)
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="^safety: "):
            merge_trajectories(z_u, z_s, d_u, d_s, 1.0, weight)


def test_correlation_of_known_vectors():
    a = torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[0.0, 3.0], [5.0, 5.0], [-1.0, 0.0], [1.0, 0.0]])
    assert torch.allclose(correlation(a, b), torch.tensor([0.0, 1.0, -1.0, 1.0]))


# --- the weight of the merge


def test_the_merge_weight_is_safety_times_the_mean_of_the_curve():
    ramp = WeightSchedule(((0.0, 0.0), (1.0, 1.0)), start_percent=0.2)
    assert merge_weight(ramp, 0.5, 0.8) == pytest.approx(0.25)
    assert merge_weight(ramp, 0.5, 0.8, start_percent=0.0) == pytest.approx(0.2)
    assert merge_weight(PRESETS["balanced"], 1.0, 0.8) == 1.0
    assert merge_weight(ramp, 0.0, 0.8) == 0.0


def test_a_ramp_down_still_guards():
    down = WeightSchedule(((0.0, 1.0), (0.8, 0.0), (1.0, 0.0)), start_percent=0.2)
    assert down.curve(0.8) == 0.0
    assert merge_weight(down, 1.0, 0.8) == pytest.approx(0.375)


def test_a_merge_that_would_guard_nothing_is_refused():
    late = WeightSchedule(((0.0, 0.0), (0.9, 0.0), (1.0, 1.0)), start_percent=0.2)
    with pytest.raises(ValueError, match="^curve: expected a height above 0 from context 0.2 to merge_at 0.8"):
        merge_weight(late, 0.5, 0.8)
    assert merge_weight(late, 0.0, 0.8) == 0.0
    for merge_at in (0.2, 0.1):
        with pytest.raises(ValueError, match="^merge_at: expected a progress after context 0.2"):
            merge_weight(late, 0.5, merge_at)
    for merge_at in (math.nan, 1.5):
        with pytest.raises(ValueError, match="^merge_at: "):
            merge_weight(late, 0.5, merge_at)
