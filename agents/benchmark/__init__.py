"""The benchmark of the inner trainer."""
