"""Measuring what served models do in a second, and the file that keeps it."""
