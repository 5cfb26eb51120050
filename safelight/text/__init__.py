"""Prompts as text, and conditionings; no host."""
