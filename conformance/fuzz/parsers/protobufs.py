"""Bodies as client-go's typed clients send them, whole and damaged: an encoder, and what breaks readers.

The fields' numbers are those of the reader's own tables: whether these are right is for real clients' bodies
to show (``tests/apiserver/test_protobuf.py``). Here it is about what no client sends.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.grammar import mutated
from multinet.apiserver import protobuf
from multinet.apiserver.protobuf_fields import Field, Message

_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2
_INT_OR_STRING: Message = {1: Field("type", "int"), 2: Field("int", "int"), 3: Field("str")}
_BAD_VARINTS = (
    b"\xff" * 9 + b"\x01",  # -1
    b"\xff" * 10 + b"\x7f",  # more than 64 bits
    b"\xff" * 400 + b"\x01",
    b"\xff" * 50_000,
    b"\x80",
)
_ODD_BYTES = (
    b"",
    b"\xff\xfe",
    b"\x00",
    b"\x0a\x00",
    b"\x0b\x0c",  # a group, which nobody uses any more
    b"\xf8\xff\xff\xff\x0f\x00",  # the largest number of a field
    b"\x00\x00",  # field 0
    b"\x12\xff\xff\xff\xff\x07",  # longer than all there is
    b"\x0d\x01\x02\x03\x04",
    b"\x09\x01\x02\x03\x04\x05\x06\x07\x08",
)


def enveloped(api_version: str, kind: str, obj: Any) -> bytes:
    """A body of a kind that the reader has a table for."""
    meta = encode({"apiVersion": api_version, "kind": kind}, {1: Field("apiVersion"), 2: Field("kind")})
    raw = encode(obj, protobuf.KINDS[kind])
    return _MAGIC + _tagged(1, meta) + _tagged(2, raw) + _tagged(3, b"") + _tagged(4, b"")


def encode(obj: Any, message: Message) -> bytes:
    """A message; what does not fit into its fields is left out."""
    if not isinstance(obj, Mapping):
        return b""
    made = b""
    for number, known in sorted(message.items()):
        value = obj if known.kind == "inline" else obj.get(known.name)
        several = value if known.repeated and isinstance(value, list) else [value]
        for one in several:
            made += _field(number, known, one)
    return made


def _field(number: int, known: Field, value: Any) -> bytes:
    kind = known.kind
    if kind.endswith("map") and isinstance(value, Mapping):
        pairs = ((str(key).encode(errors="replace"), _entry(kind, item)) for key, item in value.items())
        return b"".join(_tagged(number, _tagged(1, key) + _tagged(2, item)) for key, item in pairs)
    if kind in ("message", "inline"):
        inner = encode(value, known.message)
        return inner if not inner and value is None else _tagged(number, inner)
    if kind.endswith(("int", "bool")) and isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    if kind == "int-or-string" and isinstance(value, int | str):
        text = isinstance(value, str)
        parts = {"type": int(text), "str" if text else "int": value}
        return _tagged(number, encode(parts, _INT_OR_STRING))
    if not isinstance(value, str):
        return b""
    if kind == "quantity":
        return _tagged(number, _tagged(1, value.encode(errors="replace")))
    if kind.endswith("time"):
        return _tagged(number, _time(value))
    return _tagged(number, value.encode(errors="replace"))


def _entry(kind: str, value: Any) -> bytes:
    text = str(value).encode(errors="replace")
    return _tagged(1, text) if kind == "quantity-map" else text


def _time(value: str) -> bytes:
    try:
        seconds = int(datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError):
        seconds = -(1 << 62)
    return _varint(1 << 3) + _varint(seconds)


def _tagged(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


@st.composite
def bodies(draw: st.DrawFn, samples: Sequence[Any], odd: Sequence[Any]) -> str:
    """A body of one of these objects, as base64: changed before it was encoded, after it, or both."""
    sample = draw(st.sampled_from(list(samples)))
    obj = draw(mutated([sample], odd, most=2))
    body = enveloped(str(sample["apiVersion"]), str(sample["kind"]), obj)
    for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
        body = draw(_damaged(body))
    return base64.b64encode(body).decode()


@st.composite
def _damaged(draw: st.DrawFn, body: bytes) -> bytes:
    at = draw(st.integers(0, len(body)))
    end = draw(st.integers(at, min(len(body), at + 6)))
    inserted = draw(st.sampled_from((*_ODD_BYTES, *_BAD_VARINTS)) | st.binary(max_size=3))
    way = draw(st.integers(0, 3))
    if way == 0:
        return body[:at]
    if way == 1:
        return body[:at] + inserted + body[end:]
    if way == 2:
        return body[:end] + body[at:]
    return body + _tagged(2, inserted)
