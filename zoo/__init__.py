"""How the minihop models were made: developer-side scripts, not part of the installed package (see README.md)."""
