"""`python -m bench safety`: every method on the demo model, on the same prompts and noises."""

from .command import main as main
