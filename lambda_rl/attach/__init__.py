"""How a schedule meets an optimizer: its groups with decay, its steps, its processes."""
