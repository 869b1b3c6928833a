"""The machine: whether it is quiet, what it reaches, and the least time that a training step could take on it."""
