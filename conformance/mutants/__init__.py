"""Tests of the tests: a small delegating plugin, and one-line faults in it that the suite must find by name.

:mod:`conformance.mutants.meta` is a delegating implementation made for the purpose, a plain reading of the
standard. Each of its decisions is a method of its own: a mutant (:mod:`conformance.mutants.faults`) is that
plugin with one method replaced, and names the requirement it violates.
Faults of the reference implementation are in :mod:`conformance.mutants.lab`.
"""
