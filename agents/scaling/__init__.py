"""What workers of a cluster gain a training: measured here, and by a model of what is not."""
