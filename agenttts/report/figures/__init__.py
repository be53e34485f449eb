"""Findings as pictures (plotly)."""
