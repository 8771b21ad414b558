"""What both sides of CNI must agree on: versions, errors, names and parameters.

Source: CNI specification 1.1.0 (sections 2, 5 and "Error"). Results are in :mod:`multinet.cni.results`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from multinet.errors import NetworkingError
from multinet.model.objects import Obj

SUPPORTED_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
# libcni's rule: a configuration without a version is one of before there were versions.
UNSTATED_VERSION = "0.1.0"

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODE_FAILURE = 6
INVALID_CONFIG = 7
TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
# 100 and above are the plugin's own.
ATTACHMENT_REFUSED = 100
DATAPATH_FAILED = 101
CHECK_FAILED = 102
INTERNAL = 199

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_IFNAME_LIMIT = 15


class CNIError(NetworkingError):
    """A CNI error object: ``code`` (specification, "Error"; ours from 100), ``msg`` and ``details``."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg, why=details)
        self.code = code
        self.msg = msg
        self.details = details

    def to_object(self, version: str) -> Obj:
        """The error object for a caller that speaks ``version``."""
        made: Obj = {"cniVersion": version, "code": self.code, "msg": self.msg}
        if self.details:
            made["details"] = self.details
        return made

    def to_json(self, version: str) -> bytes:
        """The error object as it is printed on stdout."""
        return encode(self.to_object(version))


def encode(value: Mapping[str, Any]) -> bytes:
    """One JSON object and a newline; what is not UTF-8 is replaced, so encoding never fails."""
    return (json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n").encode()


def version_key(version: str) -> tuple[int, int, int]:
    """``"1.10.0"`` as something that sorts; ``ValueError`` when it is no version."""
    major, minor, patch = (int(part) for part in version.split("."))
    return (major, minor, patch)


def check_version(version: str) -> None:
    """Raise ``CNIError`` (code 1) for a version this plugin doesn't speak."""
    if version not in SUPPORTED_VERSIONS:
        raise CNIError(
            INCOMPATIBLE_VERSION,
            f'incompatible CNI versions: the configuration says "{version}"',
            f"this plugin speaks {', '.join(SUPPORTED_VERSIONS)}; set cniVersion to one of them",
        )


def version_answer(asked: str) -> Obj:
    """The answer to VERSION: the version asked in, and all we speak (specification, "VERSION")."""
    return {
        "cniVersion": asked if asked in SUPPORTED_VERSIONS else SUPPORTED_VERSIONS[-1],
        "supportedVersions": list(SUPPORTED_VERSIONS),
    }


def check_container_id(value: str) -> None:
    """Raise ``CNIError`` (code 4) unless ``value`` is a container ID (specification, section 2)."""
    if not _IDENTIFIER.fullmatch(value):
        raise CNIError(
            INVALID_ENVIRONMENT,
            f"invalid CNI_CONTAINERID {_shown(value)}",
            "it must start with a letter or digit and hold only letters, digits, '_', '.' and '-'",
        )


def check_network_name(value: object) -> None:
    """Raise ``CNIError`` (code 7) unless ``value`` is a network's name (specification, section 1)."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise CNIError(
            INVALID_CONFIG,
            f"invalid network name {_shown(value)} in the configuration",
            "its name must start with a letter or digit and hold only letters, digits, '_', '.' and '-'",
        )


def check_ifname(value: str) -> None:
    """Raise ``CNIError`` (code 4) unless the kernel takes ``value`` as an interface name."""
    usable = (
        0 < len(value.encode("utf-8", "surrogateescape")) <= _IFNAME_LIMIT
        and value not in (".", "..")
        and not any(character in "/:" or character.isspace() for character in value)
    )
    if not usable:
        raise CNIError(
            INVALID_ENVIRONMENT,
            f"invalid interface name {_shown(value)} in CNI_IFNAME",
            "it must have 1 to 15 bytes, no '/', ':' or blank, and be neither '.' nor '..'",
        )


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS (``K=V;K=V``); ``CNIError`` (code 4) for a part that has no ``=``."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if not equals and not part.strip():
            continue
        if not equals or not key:
            raise CNIError(
                INVALID_ENVIRONMENT,
                f"invalid CNI_ARGS: {_shown(part)} is no KEY=VALUE",
                "separate pairs by ';'",
            )
        found[key] = value
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"
