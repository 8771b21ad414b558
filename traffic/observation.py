"""What one probe showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from traffic.endpoint import Place

Outcome = Literal["reached", "not-reached", "wrong-path", "unknown"]
Reason = Literal[
    "",
    "interface-missing",
    "interface-down",
    "no-address",
    "send-failed",
    "no-departure",
    "no-control",
    "capture-failed",
    "capture-dropped",
]
Key = tuple[str, str, str, str, str]
"""``(source, source interface, destination, destination interface, protocol)``."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The outcome of one ordered pair and protocol.

    - ``reached``: it arrived on the destination interface, and for ARP, ICMP and TCP the answer came back.
    - ``wrong-path``: it did not go the way a working pair would: it arrived on another interface or pod
      (``seen_at`` names it), or it went one way only. A failure whatever was expected, unless every place
      in ``seen_at`` is itself allowed (``traffic.matrix.judge``).
    - ``not-reached``: it left, and nothing arrived although the same capture saw a control frame on the
      destination interface after the window (``controlled_by`` says which).
    - ``unknown``: nothing can be said; ``reason`` says why.

    ``seen_at`` holds ``ns/pod/interface`` labels of where the probe was accepted. ``control`` tells whether
    the destination's capture was proven in the probe's window. ``attempts`` counts how often it was sent.
    """

    source: str
    source_interface: str
    destination: str
    destination_interface: str
    protocol: str
    outcome: Outcome
    seen_at: tuple[str, ...] = ()
    replied: bool = False
    control: bool = False
    detail: str = ""
    reason: Reason = ""
    controlled_by: str = ""
    attempts: int = 0

    @property
    def key(self) -> Key:
        """The key of this observation in an expectation mapping."""
        return (
            self.source,
            self.source_interface,
            self.destination,
            self.destination_interface,
            self.protocol,
        )


def key_of(source: Place, destination: Place, protocol: str) -> Key:
    """The key of an ordered pair and protocol."""
    return (*source, *destination, protocol)
