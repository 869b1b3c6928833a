"""What the inner trainer is timed against."""
