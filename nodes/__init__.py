"""The nodes: declarations, and the few calls of the host that the maths needs."""
