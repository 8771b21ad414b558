"""What of the kernel's news a socket gets to hear at all: classic BPF on rtnetlink messages (socket(7)).

Making a pod's interfaces is announced in dozens of messages which concern nobody; to read and drop them took
the agent longer than some of the requests that they are about, before it could answer.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_HALF, _EQUAL, _ANY_BIT, _GIVE = 0x20, 0x28, 0x15, 0x45, 0x06
_KIND_AT = 4
_NOTHING, _ALL = 0, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class News:
    """A kind of message (RTM_*): all of it, or where a field of ``size`` 2 or 4 bytes has one of the bits.

    ``at`` is the field's offset in the message, its header of 16 bytes included.
    """

    kind: int
    at: int = 0
    size: int = 4
    bits: int = 0


def hear(through: socket.socket, news: Sequence[News]) -> None:
    """Let a socket have these messages only."""
    code: list[tuple[int, int, int, int]] = []
    for each in news:
        # A load is in network byte order. What is of another kind goes on behind this one's instructions.
        if each.bits:
            load, swap = (_LOAD_WORD, socket.htonl) if each.size == 4 else (_LOAD_HALF, socket.htons)
            accepted = [
                (load, 0, 0, each.at),
                (_ANY_BIT, 1, 0, swap(each.bits)),
                (_GIVE, 0, 0, _NOTHING),
                (_GIVE, 0, 0, _ALL),
            ]
        else:
            accepted = [(_GIVE, 0, 0, _ALL)]
        code += [
            (_LOAD_HALF, 0, 0, _KIND_AT),
            (_EQUAL, 0, len(accepted), socket.htons(each.kind)),
            *accepted,
        ]
    code.append((_GIVE, 0, 0, _NOTHING))
    program = b"".join(struct.pack("=HBBI", *each) for each in code)
    kept = ctypes.create_string_buffer(program)
    given = struct.pack("HL", len(code), ctypes.addressof(kept))
    through.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, given)
