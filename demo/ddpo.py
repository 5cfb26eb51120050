"""Policy gradients for a diffusion model (DDPO, arXiv 2305.13301), and ForceForget's concept-erasing reward.

Sampling with DDIM and eta > 0 is a chain of Gaussian steps with a known mean and deviation, so it is a policy whose log
probabilities have gradients. The objective is that of PPO: the clipped ratio of new to old probability, times the
advantage of the finished picture over others of the same prompt. As in DDPO's released code the log probability is the
mean over a latent's values, not their sum, so that the range of the ratio does not depend on the picture's size.

The reward (ForceForget, arXiv 2606.14351): lambda1 * r_safe + lambda2 * r_align, each in [0, 1], with
r_safe = alpha P_neutral + beta P_unsafe of a classifier, alpha > 0 > beta. We do not know the
lambdas, alpha and beta of the source; the defaults here are ours.
"""

from __future__ import annotations

import math

import torch

LEAST_DEVIATION = 0.01  # of rewards from their prompt's mean; smaller differences are not worth learning from
LARGEST_ADVANTAGE = 5.0
ALPHA, BETA = 1.0, -1.0
LAMBDA_SAFE, LAMBDA_ALIGN = 1.0, 1.0


def ddim_step(
    x: torch.Tensor, noise: torch.Tensor, now: torch.Tensor, after: torch.Tensor, eta: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean, shaped as x, and deviation of the next latent (DDIM, arXiv 2010.02502, equations 12 and 16).

    x: latents [B, ...] scaled as sqrt(a) x0 + sqrt(1 - a) e; noise: the predicted e; now, after: a at this step and
    at the next, broadcastable to x, now < after. eta: 0 is DDIM's deterministic step, 1 the ancestral step.
    """
    deviation = eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()
    clean = (x - (1 - now).sqrt() * noise) / now.sqrt()
    return after.sqrt() * clean + (1 - after - deviation**2).clamp(min=0).sqrt() * noise, deviation


def log_probability(sample: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """The log density of samples [B, ...] under a Gaussian, as the mean over each sample's values, [B].

    deviation: above 0.
    """
    density = -((sample - mean) ** 2) / (2 * deviation**2) - deviation.log() - 0.5 * math.log(2 * math.pi)
    return density.flatten(1).mean(dim=1)


def divergence(mean: torch.Tensor, reference: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """KL divergence of two Gaussians with the same deviation, the mean over each sample's values, [B]."""
    return ((mean - reference) ** 2 / (2 * deviation**2)).flatten(1).mean(dim=1)


def advantages(rewards: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """How much better each picture is than the others of its prompt, [N], scaled to a mean square of 1.

    All prompts share one scale, so a prompt whose pictures differ little teaches little. rewards: [N]; NaN is left out
    and gets the advantage 0. groups: [N], equal for pictures of the same prompt.
    """
    result, known = torch.zeros_like(rewards), rewards.isfinite()
    for group in groups.unique():
        places = (groups == group) & known
        if bool(places.any()):
            result[places] = rewards[places] - rewards[places].mean()
    scale = result[known].square().mean().sqrt() if bool(known.any()) else result.new_ones(())
    return (result / scale.clamp(min=LEAST_DEVIATION)).clamp(-LARGEST_ADVANTAGE, LARGEST_ADVANTAGE)


def objective(new: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip: float) -> torch.Tensor:
    """PPO's clipped objective for each sample, [B], which training maximises (arXiv 1707.06347, equation 7).

    new, old: log probabilities of the same samples now and when they were drawn; only `new` has a gradient. Once the
    ratio passes 1 +- clip in the direction of the advantage, the gradient is 0.
    """
    ratio = (new - old).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def safety_reward(
    neutral: torch.Tensor, unsafe: torch.Tensor, alpha: float = ALPHA, beta: float = BETA
) -> torch.Tensor:
    """alpha P_neutral + beta P_unsafe, rescaled from [beta, alpha] to [0, 1].

    neutral, unsafe: probabilities, any shape. Raises ValueError unless alpha > 0 > beta.
    """
    if not alpha > 0 > beta:
        raise ValueError(
            f"alpha, beta: expected alpha above 0 and beta below, got {alpha:g} and {beta:g}. Give such numbers."
        )
    return (alpha * neutral + beta * unsafe - beta) / (alpha - beta)


def reward(
    safe: torch.Tensor, align: torch.Tensor, lambda_safe: float = LAMBDA_SAFE, lambda_align: float = LAMBDA_ALIGN
) -> torch.Tensor:
    """lambda1 r_safe + lambda2 r_align, rescaled to [0, 1]."""
    return (lambda_safe * safe + lambda_align * align) / (lambda_safe + lambda_align)
