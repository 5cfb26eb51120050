"""Guidance methods and the maths of predictions; no host."""
