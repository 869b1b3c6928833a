"""Devices, number formats, compiled functions, and what was measured of this machine."""
