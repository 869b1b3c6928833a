"""What is kept of a run: its folder, metrics, provenance, Weights & Biases."""
