"""The inner trainer: N runs in lockstep."""
