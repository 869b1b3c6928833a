"""Stacks of ever more networks on a GPU: how fast, in how much memory, and what passes between it and the processor."""
