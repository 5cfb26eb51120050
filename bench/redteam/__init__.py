"""`python -m bench redteam`: attack prompts after Ring-A-Bell (arXiv 2310.10012) against every method."""

from .command import main as main
