"""DUO (Direct Unlearning Optimization, arXiv 2407.21035): preference between pairs of pictures, and preserved outputs.

A pair is an unsafe picture x- and its safe counterpart x+, noised with the same noise at the same time. l is the mean
squared error of a prediction to the noise, with an empty text, so that nothing hangs on how a prompt is worded:

    loss = -log sigma(-beta [(l+ - l+_ref) - (l- - l-_ref)]) + lam || e(x_T, empty) - e_ref(x_T, empty) ||^2

x_T is pure noise at the highest noise level; lam = 1e6 beta / 100, as the authors scale it. The released code draws a
time for each of a pair's pictures in its preference mode; here they share it, as in Diffusion-DPO, which varies less.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# The authors scale rate and penalty from here, and take 500 for nudity. On the small model the errors have to move by
# .02 before a concept goes: there a quarter of the pull is left; at 500, a ten-thousandth.
BETA = 100.0
LATEST = 0.75  # the noise levels of training, as a share of the 1000 times: t from 0 to 749


def errors(predicted: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """l of each picture, [B], of predictions and the directions of the noise that was added, both [B, ...]."""
    return (predicted - noise).square().flatten(1).mean(1)


def preference(
    safe: torch.Tensor, unsafe: torch.Tensor, safe_ref: torch.Tensor, unsafe_ref: torch.Tensor, beta: float = BETA
) -> torch.Tensor:
    """The loss of pairs by their errors, each [B]; ref: of the model before training, for which it is log 2."""
    margin = (safe - safe_ref) - (unsafe - unsafe_ref)
    return -F.logsigmoid(-beta * margin).mean()


def preservation(now: torch.Tensor, before: torch.Tensor, beta: float = BETA) -> torch.Tensor:
    """The penalty on what is predicted from pure noise, [B, ...]; 0 for the model before training."""
    return 1e6 * beta / 100 * (now - before).square().mean()
