"""Parser fuzzing: everything that reads what others wrote is total.

A *subject* is one reader with a strategy for near-valid and broken input (``subject``). Whatever it is fed,
it gives a value or its layer's own error: a four-part error with its place, a CNI error, a Status below 500;
never another exception, never a server error, never a hang. What is printable is read back as the same.
Inputs that once failed, and interesting ones, are files of ``conformance/fuzz/corpus`` and tried first
(``corpus``).

``./lab fuzz --engine parsers --budget MIN`` runs all of it for a time (``campaign``).
"""

from conformance.fuzz.parsers.campaign import Failure, Outcome, run
from conformance.fuzz.parsers.registry import SUBJECTS
from conformance.fuzz.parsers.subject import NotTotalError, Subject, feed

__all__ = ["SUBJECTS", "Failure", "NotTotalError", "Outcome", "Subject", "feed", "run"]
