"""Figures and the page of the reproduction."""
