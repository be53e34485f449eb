"""A store in a browser, live (extra `view`): it reads the store alone, and runs no code of a pipeline's."""
