"""Tests of the rows that an implementation which delegates can be held to: the suite is its runtime."""
