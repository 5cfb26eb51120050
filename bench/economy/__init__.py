"""`python -m bench economy`: how close an economical run stays to the full dual evaluation, and at what cost.

On the demo model, for prompts that took no part in choosing anything: the modes of the input `economy`, the same with
other amounts of work, and two other ways to save (the two prompts by turns without memory; the difference of the two
kept for some calls). Each picture is compared with the full evaluation's at the same place of the slider.
"""

from .command import main

__all__ = ["main"]
