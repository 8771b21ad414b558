"""ConfigMaps and Secrets: what they hold, under which keys, and what may not change.

Source: kubernetes ``pkg/apis/core/validation`` (ValidateConfigMap, ValidateSecret).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from multinet.apiserver.errors import (
    FieldError,
    bad_request,
    expect,
    field_forbidden,
    invalid_value,
    required,
)
from multinet.model.objects import Obj

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_KEY_MAX = 253
_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_SIZE_MAX = 1024 * 1024
_NEEDED = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def prepare_config_map(config_map: Obj) -> None:
    """``binaryData`` is base64, or the request can't be read."""
    _decoded(config_map, "binaryData")


def prepare_secret(secret: Obj) -> None:
    """``stringData`` goes into ``data``, which is base64, or the request can't be read."""
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", None)
    for field, held in (("stringData", plain), ("data", secret.get("data"))):
        expect(held, dict, field)
        for key, value in (held or {}).items():
            expect(value, str, f"{field}[{key}]")
    _decoded(secret, "data")
    if plain:
        data = secret.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})


def update_secret(secret: Obj, old: Obj) -> None:
    """A type that is left out stays."""
    secret.setdefault("type", old.get("type"))
    prepare_secret(secret)


def _decoded(obj: Obj, field: str) -> list[bytes]:
    try:
        return [base64.b64decode(value, validate=True) for value in (obj.get(field) or {}).values()]
    except (binascii.Error, ValueError):
        kind = obj.get("kind", "Secret" if field == "data" else "ConfigMap")
        why = f'{kind} in version "v1" cannot be handled as a {kind}: illegal base64 data'
        raise bad_request(why) from None


def validate_config_map(config_map: Obj) -> Iterator[FieldError]:
    """Yield wrong keys, keys that are there twice, and too much."""
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    for key in data:
        yield from _key_findings(f"data[{key}]", key)
        if key in binary:
            yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from _key_findings(f"binaryData[{key}]", key)
    size = sum(len(value.encode()) for value in data.values())
    yield from _size_findings("[]", size + sum(map(len, _decoded(config_map, "binaryData"))))


def validate_secret(secret: Obj) -> Iterator[FieldError]:
    """Yield wrong keys, those that the type needs and that are not there, and too much."""
    data = secret.get("data") or {}
    for key in data:
        yield from _key_findings(f"data[{key}]", key)
    yield from _size_findings("data", sum(map(len, _decoded(secret, "data"))))
    for key in _NEEDED.get(secret.get("type", ""), ()):
        if key not in data:
            yield required(f"data[{key}]")


def _key_findings(path: str, key: str) -> Iterator[FieldError]:
    if len(key) > _KEY_MAX:
        yield invalid_value(path, key, f"must be no more than {_KEY_MAX} characters")
    elif not _KEY.fullmatch(key):
        yield invalid_value(path, key, _KEY_RULE)
    elif key in (".", "..") or key.startswith(".."):
        wrong = f"must not be '{key}'" if key in (".", "..") else "must not start with '..'"
        yield invalid_value(path, key, wrong)


def _size_findings(path: str, size: int) -> Iterator[FieldError]:
    if size > _SIZE_MAX:
        yield FieldError(path, "FieldValueTooLong", f"Too long: may not be more than {_SIZE_MAX} bytes")


def content_changed(obj: Obj, old: Obj) -> Iterator[FieldError]:
    """The fields of a ConfigMap or Secret that its ``immutable`` forbids to change."""
    if obj.get("kind") == "Secret" and obj.get("type") != old.get("type"):
        yield invalid_value("type", obj.get("type"), "field is immutable")
    if not old.get("immutable"):
        return
    for field in ("immutable", "data", "binaryData"):
        if (obj.get(field) or None) != (old.get(field) or None):
            yield field_forbidden(field, "field is immutable when `immutable` is set")
