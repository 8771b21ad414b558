"""The protocol between the plugin executable and the node agent, on a unix stream socket.

Request: netstrings (``<length>:<bytes>,``): ``CNI1``, one ``K=V`` per CNI_* environment variable, an empty
one, and stdin. Reply: two netstrings, the exit code in decimal and what goes to stdout. One request per
connection. Netstrings because a small C program can write them without a JSON library, and neither side
ever has to guess where something ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from multinet.errors import NetworkingError

MAGIC = b"CNI1"
SOCKET_PATH = "/run/multinet-agent/agent.sock"
SOCKET_VARIABLE = "MULTINET_AGENT_SOCKET"
# Linux bounds one environment variable to 128 KiB and all of them to some MiB.
LIMIT = 16 * 1024 * 1024
_LENGTH_DIGITS = 8
_COMMA = ord(",")


class WireError(NetworkingError):
    """What arrived is not this protocol."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a CNI plugin is called with: its CNI_* variables, and its standard input."""

    environment: Mapping[str, str]
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """How the plugin shall end: its exit code, and its standard output."""

    code: int
    stdout: bytes


def netstring(content: bytes) -> bytes:
    """``content`` with its length in front."""
    return b"%d:%s," % (len(content), content)


def encode_call(call: Call) -> bytes:
    """The request of one call; variables other than CNI_* are left out."""
    parts = [netstring(MAGIC)]
    for key, value in call.environment.items():
        if key.startswith("CNI_"):
            parts.append(netstring(f"{key}={value}".encode("utf-8", "surrogateescape")))
    return b"".join([*parts, netstring(b""), netstring(call.stdin)])


def encode_reply(reply: Reply) -> bytes:
    """The reply to one call."""
    return netstring(str(reply.code).encode()) + netstring(reply.stdout)


def decode_reply(data: bytes) -> Reply:
    """Read a complete reply; ``WireError`` when it is not one."""
    parts = list(_split(data))
    if len(parts) != 2 or not parts[0].isdigit() or len(parts[0]) > 3:
        raise WireError("the agent's reply is not two netstrings", why=repr(data[:80]))
    return Reply(int(parts[0]), parts[1])


def decode_call(data: bytes | bytearray) -> Call | None:
    """Read one request; None as long as it is not complete, ``WireError`` when it never will be one.

    What follows it is left alone. A request larger than ``LIMIT`` bytes is none.
    """
    taken = _take(data, 0, LIMIT)
    if taken is None:
        return None
    magic, at = taken
    if magic != MAGIC:
        raise WireError(f"the request begins with {magic[:16]!r}, not with {MAGIC!r}")
    room = LIMIT
    environment: dict[str, str] = {}
    while True:
        taken = _take(data, at, room)
        if taken is None:
            return None
        variable, at = taken
        if not variable:
            break
        room -= len(variable)
        key, equals, value = variable.decode("utf-8", "surrogateescape").partition("=")
        if not equals or not key.startswith("CNI_"):
            raise WireError(f"{key[:40]!r} is no CNI_* variable")
        environment[key] = value
    taken = _take(data, at, room)
    return None if taken is None else Call(environment, taken[0])


def _take(data: bytes | bytearray, at: int, room: int) -> tuple[bytes, int] | None:
    """The netstring that begins at ``at`` and where it ends; None when more of it is to come."""
    colon = data.find(b":", at, at + _LENGTH_DIGITS + 1)
    digits = data[at:colon] if colon >= 0 else data[at : at + _LENGTH_DIGITS + 1]
    if not digits.isdigit() and (digits or colon >= 0):
        raise WireError(f"{bytes(digits)!r} is no netstring's length")
    if colon < 0:
        if len(digits) > _LENGTH_DIGITS:
            raise WireError(f"{bytes(digits)!r} is no netstring's length")
        return None
    length = int(digits)
    if length > room:
        raise WireError(f"a netstring of {length} bytes is refused", why=f"there is room for {room}")
    end = colon + 1 + length
    if len(data) <= end:
        return None
    if data[end] != _COMMA:
        raise WireError("a netstring does not end with a comma")
    return bytes(data[colon + 1 : end]), end + 1


def _split(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        digits, colon, _ = data[start : start + _LENGTH_DIGITS + 1].partition(b":")
        if not colon or not digits.isdigit():
            raise WireError("a netstring without a length", why=repr(data[start : start + 20]))
        begin = start + len(digits) + 1
        end = begin + int(digits)
        if data[end : end + 1] != b",":
            raise WireError("a netstring is cut short or does not end with a comma")
        yield data[begin:end]
        start = end + 1
