"""Separate trajectories: the positive and the safe prompt are sampled apart, then their latents merged.

A latent at noise level sigma is z = a D + sigma e: the clean picture D at its scale a, and noise e. Averaging two of
them averages the noise as well, and the mean of two noises with correlation rho is smaller than either, by
r = sqrt(w^2 + (1-w)^2 + 2 w (1-w) rho). The sampler would find less noise than sigma says and blur the picture, so the
noise alone is divided by r; the picture is never rescaled.
"""

from __future__ import annotations

import torch

from safelight.checks import unit_number
from safelight.guidance.schedule import WeightSchedule

# Below this the two noises cancel and nothing is left to restore; keeps 0 / 0 out.
_SMALLEST_RATIO = 1e-6


def merge_weight(schedule: WeightSchedule, safety: float, merge_at: float, start_percent: float | None = None) -> float:
    """The weight of the safe trajectory: the strength at `safety` times the curve's mean over
    [start, merge_at].

    start_percent: in the place of the schedule's own, as in WeightSchedule.weight.
    Raises ValueError where merge_at does not come after the start, or where safety > 0 and the mean is 0, so that
    the merge would guard nothing.
    """
    safety = unit_number("safety", safety)
    merge_at = unit_number("merge_at", merge_at)
    start = schedule.begins(safety) if start_percent is None else start_percent
    if merge_at <= start:
        raise ValueError(
            f"merge_at: expected a progress after context {start:g}, where the branches part, got {merge_at:g}. Raise "
            "merge_at."
        )
    weight = schedule.strength(safety) * schedule.mean(start, merge_at)
    if safety > 0.0 and weight == 0.0:
        raise ValueError(
            f"curve: expected a height above 0 from context {start:g} to merge_at {merge_at:g}, got 0, so the merge "
            "would guard nothing. Raise the curve there, or raise merge_at."
        )
    return weight


def merge_trajectories(
    z_cond: torch.Tensor,
    z_safe: torch.Tensor,
    denoised_cond: torch.Tensor,
    denoised_safe: torch.Tensor,
    sigma: float | torch.Tensor,
    weight: float | torch.Tensor,
    signal: float = 1.0,
) -> torch.Tensor:
    """One latent from two at the same noise level, with the noise's size restored.

    z_cond, z_safe: the latents of the positive and the safe trajectory, [B, C, ...]. denoised_cond, denoised_safe:
        their denoised predictions.
    sigma: noise level, > 0; a number or [B].
    weight: in [0, 1], a number or a tensor that broadcasts against the latents.
    signal: scale of the clean picture in z. 1 for the host's eps and v models; 1 - sigma for its flow models, whose
        latents are (1 - sigma) * picture + sigma * noise.
    Returns (1-w) a D_u + w a D_s + sigma ((1-w) e_u + w e_s) / r, rho being measured per sample. A sample whose two
    branches are identical comes back bit for bit, as do z_cond at weight 0 and z_safe at weight 1.
    """
    per_sample = (-1,) + (1,) * (z_cond.ndim - 1)
    level = torch.as_tensor(sigma, device=z_cond.device, dtype=torch.float32).reshape(per_sample)
    if not bool((level > 0).all()):
        raise ValueError(f"merge_at: expected a noise level above 0 there, got {sigma}. Lower merge_at.")
    w = torch.as_tensor(weight, device=z_cond.device, dtype=torch.float32)
    if not bool(((w >= 0) & (w <= 1)).all()):
        raise ValueError("safety: expected weights from 0 to 1 for the merge, got others. Choose another schedule.")

    picture_cond, picture_safe = signal * denoised_cond.float(), signal * denoised_safe.float()
    noise_cond, noise_safe = (z_cond.float() - picture_cond) / level, (z_safe.float() - picture_safe) / level
    rho = correlation(noise_cond, noise_safe).reshape(per_sample)
    ratio = (w * w + (1 - w) ** 2 + 2 * w * (1 - w) * rho).clamp_min(0.0).sqrt().clamp_min(_SMALLEST_RATIO)
    merged = (1 - w) * picture_cond + w * picture_safe + level * ((1 - w) * noise_cond + w * noise_safe) / ratio

    merged = merged.to(z_cond.dtype)
    merged = torch.where(w == 0, z_cond, torch.where(w == 1, z_safe, merged))
    same = ((z_cond == z_safe) & (denoised_cond == denoised_safe)).flatten(1).all(dim=1)
    return torch.where(same.reshape(per_sample), z_cond, merged)


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of the angle between a and b per sample: [B, ...] to [B], in [-1, 1]; 1 where either is zero."""
    a, b = a.flatten(1), b.flatten(1)
    size = a.norm(dim=1) * b.norm(dim=1)
    cosine = torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(torch.finfo(size.dtype).tiny), 1.0)
    return cosine.clamp(-1.0, 1.0)
