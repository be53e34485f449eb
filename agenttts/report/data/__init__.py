"""Findings as plain data: rows for JSON, frames for pandas."""
