"""`python -m bench speed`: what the pack's ways to sample cost beside the host's stock KSampler."""

from .command import main as main
