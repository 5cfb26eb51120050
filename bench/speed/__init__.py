"""`python -m bench speed`: what the pack's ways to sample cost beside the host's stock KSampler.

Rows of model evaluation, time, memory and the time outside the model, at up to three model sizes. Each case runs in
turns with the stock sampler in one process; figures are medians over the pairs. See bench/results/speed.md.
"""

from .command import main

__all__ = ["main"]
