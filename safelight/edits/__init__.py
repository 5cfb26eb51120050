"""Edits of models and text encoders, and their files; no host."""
