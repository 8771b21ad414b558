"""The runtime's view of a CNI configuration directory (CNI specification 1.1.0, section 1).

The directory is read as the container runtimes do it with libcni: files ending in ``.conf``, ``.conflist``
or ``.json`` in lexical order of their names, the first usable one wins; a damaged one is passed over, and
named in the error when none is left. A ``.conflist`` is a list, to which ``<name>/*.conf`` beside it add
plugins unless ``loadOnlyInlinedPlugins`` is set; the others are of one plugin, taken as a list of one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multinet.cni.spec import (
    SUPPORTED_VERSIONS,
    UNSTATED_VERSION,
    CNIError,
    check_network_name,
    version_key,
)
from multinet.errors import InputError

_LIST = ".conflist"
_ENDINGS = (_LIST, ".conf", ".json")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A network configuration list. ``source`` is its text, kept for DEL; ``plugins`` are unchanged."""

    name: str
    cni_version: str
    plugins: tuple[Mapping[str, Any], ...]
    source: bytes = field(repr=False)
    disable_check: bool = False
    disable_gc: bool = False

    def at_least(self, version: str) -> bool:
        """Whether the negotiated version has what ``version`` brought (CHECK 0.4.0, STATUS and GC 1.1.0)."""
        return version_key(self.cni_version) >= version_key(version)


def load_network(conf_dir: Path) -> NetworkConfig:
    """Return the first usable configuration of ``conf_dir``; ``InputError`` says why there is none."""
    try:
        found = sorted(path for path in conf_dir.iterdir() if path.suffix in _ENDINGS and not path.is_dir())
    except OSError:
        found = []
    refused: list[str] = []
    for path in found:
        try:
            return parse_network(_read_list(path), where=str(path))
        except OSError as error:
            refused.append(f"{path}: {error.strerror}")
        except InputError as error:
            refused.append(str(error))
    raise InputError(
        "no CNI network configuration",
        where=str(conf_dir),
        why="; ".join(refused) or "no .conflist, .conf or .json file in it",
        next_step="install the network plugin's configuration there",
    )


def _read_list(path: Path) -> bytes:
    """The text of a configuration file as that of a complete list."""
    text = path.read_bytes()
    config = _decode(text, where=str(path))
    if path.suffix != _LIST:
        if "plugins" in config:
            what = f"a list of plugins in a {path.suffix} file"
            raise InputError(what, where=str(path), next_step=f"rename it to *{_LIST}")
        return text
    more = [_decode(each.read_bytes(), where=str(each)) for each in _beside(path, config)]
    inline = config.get("plugins", [])
    if more and isinstance(inline, list):
        return json.dumps({**config, "plugins": [*inline, *more]}).encode()
    if "plugins" not in config:
        raise InputError("a list without plugins", where=str(path), next_step="rename it to *.conf?")
    return text


def _beside(path: Path, config: Mapping[str, Any]) -> list[Path]:
    name = config.get("name")
    if config.get("loadOnlyInlinedPlugins") is True or not isinstance(name, str) or not name or "/" in name:
        return []
    return sorted((path.parent / name).glob("*.conf"))


def _decode(text: bytes, *, where: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("not JSON", where=where, why=str(error)) from error
    if not isinstance(config, dict):
        raise InputError("not a JSON object", where=where)
    return config


def parse_network(text: bytes, *, where: str) -> NetworkConfig:
    """Decode one configuration, a list or a single plugin's; ``InputError`` says what is wrong in it."""
    config = _decode(text, where=where)
    plugins = config.get("plugins", [config])
    if not isinstance(plugins, list) or not plugins:
        raise InputError("plugins must be a list of at least one plugin", where=where)
    for position, plugin in enumerate(plugins):
        if not isinstance(plugin, dict) or not isinstance(plugin.get("type"), str) or not plugin["type"]:
            raise InputError("a plugin needs a type", where=f"{where}: plugins[{position}]")
    name = config.get("name")
    if not isinstance(name, str) or not name:
        raise InputError("a network needs a name", where=where)
    try:
        # It becomes a part of file names, here and in plugins.
        check_network_name(name)
    except CNIError as error:
        raise InputError(error.msg, where=where, why=error.details) from error
    return NetworkConfig(
        name=name,
        cni_version=negotiate(config, where=where),
        plugins=tuple(plugins),
        source=text,
        disable_check=_flag(config, "disableCheck", where),
        disable_gc=_flag(config, "disableGC", where),
    )


def negotiate(config: Mapping[str, Any], *, where: str = "") -> str:
    """The highest version among ``cniVersion`` and ``cniVersions`` that this runtime speaks."""
    offered = config.get("cniVersions") or []
    if not isinstance(offered, list):
        raise InputError("cniVersions must be a list", where=where)
    single = config.get("cniVersion") or ("" if offered else UNSTATED_VERSION)
    versions: Sequence[Any] = [*([single] if single else []), *offered]
    usable = [version for version in versions if version in SUPPORTED_VERSIONS]
    if not usable:
        raise InputError(
            f"no usable cniVersion among {', '.join(map(str, versions))}",
            where=where,
            next_step=f"versions this runtime speaks: {', '.join(SUPPORTED_VERSIONS)}",
        )
    return str(max(usable, key=version_key))


def _flag(config: Mapping[str, Any], key: str, where: str) -> bool:
    # libcni takes the texts "true" and "false" as well.
    value = config.get(key, False)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise InputError(f"{key} must be a boolean", where=where)
    return value
