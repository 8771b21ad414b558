"""Tests of the rows that a CNI plugin can be held to, calling it as a runtime does."""
