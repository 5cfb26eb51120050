"""`python -m bench economy`: how close an economical run stays to the full dual evaluation, and at what cost."""

from .command import main as main
