"""What a comparison is asked for: its options, what they name, read and checked, and how a run of it is tracked."""
