"""Pictures of what a run did; no host."""
