"""One CNI call, checked: the environment and stdin of a plugin as a value, or a CNI error.

CNI specification 1.1.0, section 2: which parameters each command needs. Total: whatever arrives, the
outcome is a :class:`Request` or a :class:`~multinet.cni.spec.CNIError`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from multinet.cni import spec
from multinet.cni.spec import CNIError
from multinet.model.objects import Obj

ADD, DEL, CHECK, GC, STATUS, VERSION = "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"

_NEEDS: Mapping[str, tuple[str, ...]] = {
    ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    DEL: ("CNI_CONTAINERID", "CNI_IFNAME"),
    GC: ("CNI_PATH",),
    STATUS: (),
    VERSION: (),
}
# The version that brought a command; a configuration of an older one can't call it.
_SINCE: Mapping[str, tuple[int, int, int]] = {CHECK: (0, 4, 0), GC: (1, 1, 0), STATUS: (1, 1, 0)}
_VALID_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")


@dataclass(frozen=True, slots=True)
class Request:
    """A checked call. ``container_id``, ``netns``, ``ifname`` are empty where the command has none."""

    command: str
    version: str
    network: str
    config: Obj
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: Mapping[str, str] | None = None

    def arg(self, key: str) -> str:
        """A value of CNI_ARGS, empty where it is absent."""
        return (self.args or {}).get(key, "")


def stated_version(stdin: bytes) -> str:
    """The version to answer an unusable call in: its own if it has one that we speak, else our newest."""
    try:
        config = json.loads(stdin)
    except (ValueError, RecursionError):
        return spec.SUPPORTED_VERSIONS[-1]
    stated = config.get("cniVersion") if isinstance(config, dict) else None
    return stated if stated in spec.SUPPORTED_VERSIONS else spec.SUPPORTED_VERSIONS[-1]


def parse(environment: Mapping[str, str], stdin: bytes) -> Request:
    """Check a call; ``CNIError`` names what is wrong, the variables and the keys."""
    command = environment.get("CNI_COMMAND", "")
    if command not in _NEEDS:
        raise CNIError(
            spec.INVALID_ENVIRONMENT,
            f"unknown CNI_COMMAND {command[:40]!r}" if command else "CNI_COMMAND is not set",
            f"set CNI_COMMAND to one of {', '.join(_NEEDS)}",
        )
    config = _decode(stdin)
    if command == VERSION:
        return Request(command, stated_version(stdin), "", config)
    missing = [name for name in _NEEDS[command] if not environment.get(name)]
    if missing:
        raise CNIError(
            spec.INVALID_ENVIRONMENT,
            f"required environment variables are missing: {', '.join(missing)}",
            f"{command} needs {', '.join(_NEEDS[command])}",
        )
    version = _version(config, command)
    spec.check_network_name(config.get("name"))
    if command in (GC, STATUS):
        return Request(command, version, config["name"], config)
    spec.check_container_id(environment["CNI_CONTAINERID"])
    spec.check_ifname(environment["CNI_IFNAME"])
    return Request(
        command,
        version,
        config["name"],
        config,
        container_id=environment["CNI_CONTAINERID"],
        netns=environment.get("CNI_NETNS", ""),
        ifname=environment["CNI_IFNAME"],
        args=spec.parse_args(environment.get("CNI_ARGS", "")),
    )


def valid_attachments(config: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """GC's list as (container ID, interface name) pairs.

    Read from ``cni.dev/valid-attachments`` and ``cni.dev/attachments``, as the text of 1.1.0 first had it;
    libcni sends both. What either lists is valid. A missing or malformed list is an error: taken for an empty
    one, it would delete everything.
    """
    lists = [config[key] for key in _VALID_KEYS if key in config]
    if not lists or not all(isinstance(listed, list) for listed in lists):
        raise CNIError(
            spec.INVALID_CONFIG,
            "GC without a list of valid attachments",
            "set cni.dev/valid-attachments to a list of {containerID, ifname}",
        )
    found = set()
    for item in itertools.chain(*lists):
        pair = (item.get("containerID"), item.get("ifname")) if isinstance(item, dict) else (None, None)
        if not isinstance(pair[0], str) or not isinstance(pair[1], str):
            raise CNIError(
                spec.INVALID_CONFIG,
                "an entry of cni.dev/valid-attachments lacks containerID or ifname",
                repr(item)[:200],
            )
        found.add((pair[0], pair[1]))
    return frozenset(found)


def refuse_runtime_config(config: Mapping[str, Any], acted_on: Collection[str] = ()) -> None:
    """``CNIError`` (code 2) for capabilities the runtime asks for that are not ``acted_on``.

    What a pod gets is decided before ADD, from its annotations; passing over, say, port mappings in silence
    would leave the user without them (CNI conventions, "Dynamic Plugin specific fields").
    """
    given = config.get("runtimeConfig")
    if given is not None and not isinstance(given, dict):
        raise CNIError(spec.INVALID_CONFIG, "runtimeConfig is not a JSON object", repr(given)[:200])
    for key, value in (given or {}).items():
        if key not in acted_on and value not in (None, "", [], {}):
            raise CNIError(
                spec.UNSUPPORTED_FIELD,
                f"runtimeConfig.{key} is not supported: {json.dumps(value)[:200]}",
                f"take {key} out of the plugin's capabilities; selections of networks say what a pod gets",
            )


def _decode(stdin: bytes) -> Obj:
    if not stdin.strip():
        raise CNIError(
            spec.DECODE_FAILURE,
            "no network configuration on stdin",
            "pass the configuration as JSON on stdin",
        )
    try:
        config = json.loads(stdin)
    except (ValueError, RecursionError) as error:
        raise CNIError(
            spec.DECODE_FAILURE, "the network configuration on stdin is not JSON", str(error)
        ) from error
    if not isinstance(config, dict):
        raise CNIError(
            spec.DECODE_FAILURE,
            "the network configuration on stdin is not a JSON object",
            f"it is a {type(config).__name__}",
        )
    return config


def _version(config: Obj, command: str) -> str:
    stated = config.get("cniVersion")
    version = spec.UNSTATED_VERSION if stated is None else stated
    if not isinstance(version, str):
        raise CNIError(spec.INVALID_CONFIG, "cniVersion is not a string", f"it is {version!r}"[:200])
    spec.check_version(version)
    if spec.version_key(version) < _SINCE.get(command, (0, 0, 0)):
        since = ".".join(map(str, _SINCE[command]))
        raise CNIError(
            spec.INCOMPATIBLE_VERSION,
            f"{command} does not exist in CNI version {version}",
            f"set cniVersion to {since} or newer",
        )
    return version
