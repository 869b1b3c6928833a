"""Rivals on foreign loops: tuned families, a searched and a copied trajectory, and what is left of a policy."""
