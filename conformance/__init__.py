"""Requirement catalogue, profiles, targets and the conformance suite.

Not built yet; it sits on top of scenarios, topology and traffic.
"""
