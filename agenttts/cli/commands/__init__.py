"""The commands. Imports of what a command needs happen inside it: `--help` must be instant."""
