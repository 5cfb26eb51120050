"""What a run did, to look at; no host."""
