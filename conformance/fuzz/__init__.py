"""Stateful fuzzing: random attachments, edits, deletions and faults against the documented rules.

``model`` states the rules, ``steps`` what may happen, ``machine`` lets hypothesis choose; an engine carries
the steps out: ``simulated`` in this process with virtual time, ``lab`` in a real lab. A failure is written
as a scenario file (``export``).
"""
