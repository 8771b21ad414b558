"""The `multinet` command: the only package, with the pytest plugin, that prints."""
