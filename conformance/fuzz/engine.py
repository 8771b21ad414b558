"""What the machine asks of an engine, whatever it runs on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import Step
from multinet.errors import LabError


class RestlessError(LabError):
    """What follows from a step goes on for ever: two parts wake each other in turns."""


@runtime_checkable
class Patient(Protocol):
    """An engine that does not know when its world is at rest."""

    def more_time(self) -> bool:
        """Wait until something happens; False when it is too late for another look."""


class UnforeseenError(LabError):
    """The implementation met an error that nobody foresaw, whatever came of it."""


class Engine(Protocol):
    """A world in which steps are carried out and looked at."""

    def supports(self, kind: type[Step]) -> bool:
        """Whether it can carry out this kind of step; those it can't are never asked of it."""

    def reset(self) -> None:
        """Make the world empty again: two nodes, two namespaces, the default network."""

    def do(self, step: Step) -> None:
        """Carry out a step, and return when all that follows from it has happened; or ``RestlessError``.

        ``UnforeseenError``, and any other exception, is a failure of the implementation.
        """

    def observe(self) -> Seen:
        """Look at everything."""

    def close(self) -> None:
        """End it."""
