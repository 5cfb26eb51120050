"""The work on the host."""
