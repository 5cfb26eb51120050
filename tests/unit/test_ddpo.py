"""Policy gradients: the probability of a step, PPO's clip, advantages, and that the gradient climbs."""

import math

import pytest
import torch

from demo import ddpo


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_log_probability_is_torchs_own():
    sample, mean, deviation = draw(3, 2, 4), draw(3, 2, 4, seed=1), torch.tensor(0.7, dtype=torch.float64)
    expected = torch.distributions.Normal(mean, deviation).log_prob(sample).flatten(1).mean(dim=1)
    torch.testing.assert_close(ddpo.log_probability(sample, mean, deviation), expected)


def test_divergence_is_torchs_own():
    mean, other, deviation = draw(3, 5), draw(3, 5, seed=1), torch.tensor(0.4, dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(other, deviation)).mean(dim=1)
    torch.testing.assert_close(ddpo.divergence(mean, other, deviation), expected)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_keeps_the_schedules_noise(eta):
    """With the true noise, the next latent has the clean latent and the noise variance of its place in the schedule."""
    clean, noise = draw(20000, seed=2), draw(20000, seed=3)
    now, after = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    mean, deviation = ddpo.ddim_step(now.sqrt() * clean + (1 - now).sqrt() * noise, noise, now, after, eta)
    rest = mean - after.sqrt() * clean
    assert float(rest.square().mean() + deviation**2) == pytest.approx(float(1 - after), rel=0.03)
    assert float(deviation) == 0.0 if eta == 0.0 else float(deviation) > 0.0


def test_eta_1_is_the_posterior_of_the_forward_process():
    """DDPM's: variance (1 - a') / (1 - a) * (1 - a / a'), mean its weighted sum of clean latent and x."""
    clean, noise = draw(6, seed=2), draw(6, seed=3)
    now, after = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.6, dtype=torch.float64)
    x = now.sqrt() * clean + (1 - now).sqrt() * noise
    mean, deviation = ddpo.ddim_step(x, noise, now, after)
    ratio = now / after
    expected = (after.sqrt() * (1 - ratio) * clean + ratio.sqrt() * (1 - after) * x) / (1 - now)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(deviation**2, (1 - after) / (1 - now) * (1 - ratio))


def test_advantages_compare_pictures_of_one_prompt():
    rewards = torch.tensor([0.1, 0.3, 0.9, 0.7, 0.5, 0.5])
    advantages = ddpo.advantages(rewards, torch.tensor([0, 0, 1, 1, 2, 2]))
    torch.testing.assert_close(advantages, 1.5**0.5 * torch.tensor([-1.0, 1.0, 1.0, -1.0, 0.0, 0.0]))


def test_where_little_is_at_stake_little_is_learnt():
    advantages = ddpo.advantages(torch.tensor([0.0, 0.8, 0.5, 0.54]), torch.tensor([0, 0, 1, 1]))
    torch.testing.assert_close(advantages[3] / advantages[1], torch.tensor(0.05))
    assert float(advantages.square().mean()) == pytest.approx(1.0)


def test_nearly_equal_rewards_are_no_advantage():
    advantages = ddpo.advantages(torch.tensor([0.5, 0.5 + 1e-5]), torch.tensor([0, 0]))
    assert float(advantages.abs().max()) < 0.01


def test_a_picture_without_a_reward_takes_no_part():
    rewards, groups = torch.tensor([0.1, 0.3, torch.nan, torch.nan]), torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(ddpo.advantages(rewards, groups), torch.tensor([-1.0, 1.0, 0.0, 0.0]))


def slope(log_ratio, advantage, clip=0.1):
    new = torch.tensor([log_ratio], requires_grad=True)
    ddpo.objective(new, torch.zeros(1), torch.tensor([advantage]), clip).sum().backward()
    return float(new.grad)


def test_the_gradient_follows_the_advantage_until_the_clip():
    assert slope(0.0, 2.0) == pytest.approx(2.0) and slope(0.0, -2.0) == pytest.approx(-2.0)
    assert slope(0.2, 2.0) == 0.0 and slope(-0.2, -2.0) == 0.0  # far enough already
    assert slope(-0.2, 2.0) > 0.0 and slope(0.2, -2.0) < 0.0  # went the wrong way: still pulled back


@pytest.mark.parametrize("clip", [0.05, 0.1, 0.3])
def test_the_gradient_ends_where_the_ratio_leaves_its_range(clip):
    """At 1 + clip where the advantage is above 0, at 1 - clip where it is below; just inside, all of it is there."""
    for edge, advantage in ((1 + clip, 2.0), (1 - clip, -2.0)):
        inside, outside = 1 + 0.98 * (edge - 1), 1 + 1.02 * (edge - 1)
        assert slope(math.log(inside), advantage, clip) == pytest.approx(advantage * inside)
        assert slope(math.log(outside), advantage, clip) == 0.0


def test_beyond_its_range_a_ratio_counts_as_the_end_of_the_range():
    def value(ratio, advantage):
        new, none = torch.tensor([math.log(ratio)]), torch.zeros(1)
        return float(ddpo.objective(new, none, torch.tensor([advantage]), 0.1))

    assert value(1.5, 2.0) == pytest.approx(2.2) and value(0.5, -2.0) == pytest.approx(-1.8)
    assert value(0.5, 2.0) == pytest.approx(1.0) and value(1.5, -2.0) == pytest.approx(-3.0)  # the wrong way: in full


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_picture_has_an_advantage_beyond_five(sign):
    """One among a hundred would have nearly ten."""
    rewards = torch.zeros(100)
    rewards[7] = sign
    found = ddpo.advantages(rewards, torch.zeros(100, dtype=torch.long))
    assert float(found[7]) == 5.0 * sign
    assert float(found[0]) == pytest.approx(-sign / 99**0.5, rel=1e-3)


def test_a_step_from_pure_noise_is_finite():
    """Where all of the next latent's noise is new, rounding may leave less than none of the old one."""
    after = torch.linspace(0.01, 0.99, 500)
    mean, deviation = ddpo.ddim_step(torch.ones(500), torch.ones(500), torch.full((500,), 1e-9), after)
    assert mean.isfinite().all() and deviation.isfinite().all()


def test_a_gaussian_policy_climbs_its_reward():
    """One step of one number: the mean goes where the reward is, from either side."""
    for begin in (-1.0, 2.0):
        mean = torch.tensor(begin, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([mean], 0.1)
        deviation = torch.tensor(0.5, dtype=torch.float64)
        for epoch in range(150):
            sample = mean.detach() + deviation * draw(64, 1, seed=epoch)
            old = ddpo.log_probability(sample, mean.detach().expand(64, 1), deviation)
            gained = ddpo.advantages(-((sample[:, 0] - 0.5) ** 2), torch.zeros(64, dtype=torch.long))
            new = ddpo.log_probability(sample, mean.expand(64, 1), deviation)
            optimiser.zero_grad()
            (-ddpo.objective(new, old, gained, 0.2).mean()).backward()
            optimiser.step()
        assert abs(float(mean.detach()) - 0.5) < 0.15


def test_rewards_lie_between_0_and_1():
    sure = torch.tensor([1.0, 0.0, 0.5])
    torch.testing.assert_close(ddpo.safety_reward(sure, 1 - sure), sure)
    torch.testing.assert_close(ddpo.safety_reward(sure, 1 - sure, alpha=2.0, beta=-1.0), sure)
    torch.testing.assert_close(ddpo.reward(sure, torch.zeros(3), 3.0, 1.0), 0.75 * sure)
    torch.testing.assert_close(ddpo.reward(sure, torch.zeros(3)), 0.5 * sure)  # both count alike
    half = torch.tensor(0.5)
    torch.testing.assert_close(ddpo.safety_reward(half, half), half)
    torch.testing.assert_close(ddpo.safety_reward(half, torch.tensor(0.0)), torch.tensor(0.75))
    with pytest.raises(ValueError, match="alpha"):
        ddpo.safety_reward(sure, sure, alpha=1.0, beta=0.5)
