"""What every folder may use: checks of values, statistics, text, YAML, optional packages, a web server."""
