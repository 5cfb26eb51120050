"""SDD (Safe self-Distillation Diffusion, arXiv 2307.05977), with ESD's target (arXiv 2303.07345) as another setting.

The student learns to predict for a concept what it predicts for no text at all (SDD), or what the model before training
predicts when it is turned away from the concept (ESD):

    SDD    target = sg(e_student(x_t, empty))
    ESD    target = e_0(x_t, empty) - eta (e_0(x_t, concept) - e_0(x_t, empty))
    loss   = || e_student(x_t, concept) - target ||^2 + weight || e_student(x_t, kept) - e_0(x_t, kept) ||^2

The second term is ours: neither paper holds look-alikes, and with a target of the student's own nothing else holds what
an empty text draws. x_t comes from the running mean of the student (SDD's EMA teacher), which is what is kept in the
end. Norms are means over all values. e is the direction of the noise, (x - denoised) / sigma, so that the same formulas
hold for models that predict noise, velocity or flow.
"""

from __future__ import annotations

import torch

ETA = 2.0  # how far ESD turns away; 2 as in its authors' code, the paper has 1
DECAY = 0.999  # of the running mean, as SDD has it


def esd_target(empty: torch.Tensor, concept: torch.Tensor, eta: float = ETA) -> torch.Tensor:
    """Both of the model before training, [B, ...]; the paper's equation 6. At eta 0 it is `empty`."""
    return empty - eta * (concept - empty)


def distance(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean squared difference of two predictions [B, ...]; no gradient goes into the target."""
    return (student - target.detach()).square().mean()


def decay_at(step: int, decay: float = DECAY) -> float:
    """The running mean's decay at a step from 0 on: less at first, so that a short training is not mostly its start."""
    return min(decay, (1 + step) / (10 + step))
