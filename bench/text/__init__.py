"""`python -m bench text`: the reader of prompts and the rewriter, on prompts that they did not learn from."""

from .command import main as main
