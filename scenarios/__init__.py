"""Scenario files: schema, loader, runner, and the pytest front."""
