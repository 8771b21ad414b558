"""Implementations under test, one small module each; ``docs/targets.md`` tells how to write another."""
