"""The errors a user can meet, in one tree.

Every error carries four parts, so that each front end can show them in its own form and nobody has to
parse a sentence: *what* happened, *where* (``file:line``, ``pod/interface``, ``node``), *why* (the
evidence), and the *next step* that mends it.

::

    MultinetError
    ├── InputError              what the user gave can't be used (exit status 2)
    ├── EnvironmentLackError    this machine can't do what was asked (exit status 3)
    ├── LabError                the lab broke; the verdict is unknown (exit status 3)
    ├── WaitExpiredError        a named wait reached its limit
    ├── ApiError                the Kubernetes API said no (``multinet.kube.errors`` has its kinds)
    └── NetworkingError         a network, attachment or address request that can't be met
"""

from __future__ import annotations


class MultinetError(Exception):
    """Base of every error this project raises on purpose.

    ``what`` is one sentence without a final full stop. ``where``, ``why`` and ``next_step`` may be empty.
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.next_step = next_step

    def __str__(self) -> str:
        """One line: ``where: what: why (next step)``; empty parts are left out."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f": {self.why}"
        if self.next_step:
            text += f" ({self.next_step})"
        return text


class InputError(MultinetError):
    """What the user gave (a file, an option, a manifest) can't be used."""


class EnvironmentLackError(MultinetError):
    """The machine lacks something that was asked for; ``next_step`` is the remedy."""


class LabError(MultinetError):
    """The lab itself broke, so nothing can be said about what runs in it."""


class WaitExpiredError(MultinetError):
    """A named wait reached its limit (see :mod:`multinet.waits`)."""


class ApiError(MultinetError):
    """The Kubernetes API refused a request or could not be reached."""


class NetworkingError(MultinetError):
    """A network, attachment or address request that can't be met as asked."""
