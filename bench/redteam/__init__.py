"""`python -m bench redteam`: attack prompts after Ring-A-Bell (arXiv 2310.10012) against every method.

search is the genetic search, attacker its target on the demo's text encoder, plan says what is attacked and with which
words; pictures and scores are those of bench/safety.
"""

from .command import main

__all__ = ["main"]
