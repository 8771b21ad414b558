"""Bytes to objects and back: the one seam for encodings.

In: JSON, YAML, and protobuf for what kubectl sends no other way. Out: JSON. A further encoding (CBOR) is one
more entry in ``_DECODERS`` and, for answers, a function beside :func:`encode`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import yaml

from multinet.apiserver import protobuf
from multinet.apiserver.errors import StatusError, bad_request, unsupported_media
from multinet.model.objects import Obj

JSON = "application/json"
_YAML_LIMIT = 200_000


def _json(body: bytes) -> Any:
    return orjson.loads(body)


def _yaml(body: bytes) -> Any:
    value = yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if b"&" in body and _size(value, {}) > _YAML_LIMIT:
        raise bad_request(f"the YAML body has more than {_YAML_LIMIT} values with its aliases expanded")
    # What JSON has no word for (dates, numbers as keys) becomes text, as in the YAML reader of Kubernetes.
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values there are in one; what an alias stands for counts each time, and is counted once."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(item, known) for item in inner)
    return known[id(value)]


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    JSON: _json,
    "application/yaml": _yaml,
    protobuf.MEDIA_TYPE: protobuf.decode,
    "": _json,
}


def decode(body: bytes, content_type: str) -> Any:
    """Return the value in a request body. Raises 415 for an unknown format and 400 for a broken one."""
    media = content_type.partition(";")[0].strip().lower()
    decoder = _DECODERS.get(media)
    if decoder is None:
        raise unsupported_media(media, [name for name in _DECODERS if name])
    return _decoded(decoder, body)


def decode_json(body: bytes) -> Any:
    """Return a JSON value whatever the content type was (patch bodies have types of their own)."""
    return _decoded(_json, body)


def decode_object(body: bytes, content_type: str) -> Obj:
    """Return the object in a request body; anything that isn't a JSON object is a 400."""
    value = decode(body, content_type)
    if not isinstance(value, dict):
        raise bad_request(
            f"the object provided is unrecognized: expected an object, got {type(value).__name__}"
        )
    return value


def encode(value: Any) -> bytes:
    """Return compact JSON."""
    return orjson.dumps(value)


def copied(obj: Obj) -> Obj:
    """Return a deep copy of a JSON object (a round trip is faster than ``copy.deepcopy``)."""
    result: Obj = orjson.loads(orjson.dumps(obj))
    return result


def _decoded(decoder: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return decoder(body)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
        # PyYAML's constructors trust an explicit tag: `!!bool x` is a KeyError in there.
        raise _broken(error) from error


def _broken(error: Exception) -> StatusError:
    return bad_request(f"couldn't get version/kind; json parse error: {error}")
