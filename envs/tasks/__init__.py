"""Tasks and suites: what an inner run is, but for λ."""
