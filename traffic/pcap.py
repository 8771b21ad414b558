"""Capture files: one per interface, nanosecond pcap, in the order of the kernel's timestamps.

Format: draft-ietf-opsawg-pcap, magic 0xA1B23C4D, link type 1 (Ethernet). Written in the machine's byte
order, as readers expect to handle either.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from pathlib import Path

from traffic.endpoint import Place

_FILE_HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
_RECORD = struct.Struct("=IIII")
_NANOSECONDS = 1_000_000_000


def file_name(place: Place) -> str:
    """``<namespace>-<pod>-<interface>.pcap``; characters that trouble shells become ``_``."""
    return re.sub(r"[^A-Za-z0-9._@-]", "_", "-".join(place).replace("/", "-")) + ".pcap"


def write(path: Path, records: Iterable[tuple[int, bytes]]) -> None:
    """Write ``(time in ns since the epoch, frame)`` records, sorted by time."""
    parts = [_FILE_HEADER]
    for time_ns, data in sorted(records, key=lambda record: record[0]):
        seconds, rest = divmod(time_ns, _NANOSECONDS)
        parts.append(_RECORD.pack(seconds, rest, len(data), len(data)))
        parts.append(data)
    path.write_bytes(b"".join(parts))
