"""Findings as text: lines and tables for a terminal."""
