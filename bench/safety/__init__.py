"""`python -m bench safety`: every method on the demo model, on the same prompts and noises.

sets draws the prompts, plan says what is made, worker makes it, score measures it; the report reads the results.
"""

from .command import main

__all__ = ["main"]
