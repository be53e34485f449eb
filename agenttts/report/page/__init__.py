"""Findings as one HTML page."""
