"""The command line: commands without logic of their own."""

from agenttts.cli.app import main

__all__ = ["main"]
