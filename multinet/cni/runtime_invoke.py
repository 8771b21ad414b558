"""One call of one plugin executable (CNI specification 1.1.0, sections 2 and 5)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multinet.cni import runtime_exec
from multinet.cni.runtime_cache import Attachment
from multinet.cni.runtime_config import NetworkConfig
from multinet.cni.runtime_errors import UNEXPLAINED, PluginError
from multinet.errors import WaitExpiredError
from multinet.model.objects import Obj

_log = logging.getLogger(__name__)


def plugin_config(
    network: NetworkConfig, plugin: Mapping[str, Any], attachment: Attachment | None, previous: Obj | None
) -> Obj:
    """What the plugin gets on stdin: its own keys untouched, with what the runtime adds and takes away.

    Section 3, "Deriving execution configuration from plugin configuration". Plugins before 1.0.0 saw their
    ``capabilities``; since then they must not.
    """
    config = dict(plugin)
    config["cniVersion"] = network.cni_version
    config["name"] = network.name
    capabilities = plugin.get("capabilities")
    if network.at_least("1.0.0"):
        config.pop("capabilities", None)
    if isinstance(capabilities, Mapping) and attachment is not None:
        wanted = {
            key: value
            for key, value in attachment.capability_args.items()
            if capabilities.get(key) is True and value not in (None, "", [], {})
        }
        if wanted:
            config["runtimeConfig"] = wanted
    if previous is not None:
        config["prevResult"] = previous
    return config


def environment(command: str, attachment: Attachment | None, bin_dirs: Sequence[Path]) -> dict[str, str]:
    """The process environment of the call: the runtime's own with the CNI variables replaced."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CNI_")}
    env["CNI_COMMAND"] = command
    env["CNI_PATH"] = ":".join(str(path) for path in bin_dirs)
    if attachment is not None:
        env["CNI_CONTAINERID"] = attachment.container_id
        env["CNI_NETNS"] = attachment.netns
        env["CNI_IFNAME"] = attachment.ifname
        env["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in attachment.args)
    return env


def find_plugin(plugin: str, command: str, bin_dirs: Sequence[Path]) -> Path:
    """The executable of a plugin type; ``PluginError`` when no directory has it."""
    if "/" in plugin:
        raise PluginError(plugin, command, f"invalid plugin name {plugin!r}: it must not hold a slash")
    for directory in bin_dirs:
        path = directory / plugin
        if path.is_file() and os.access(path, os.X_OK):
            return path
    searched = ", ".join(map(str, bin_dirs))
    raise PluginError(plugin, command, f'failed to find plugin "{plugin}" in path [{searched}]')


async def invoke(
    plugin: str,
    command: str,
    config: Obj,
    *,
    attachment: Attachment | None,
    bin_dirs: Sequence[Path],
    limit_s: float,
) -> Obj | None:
    """Run the plugin; return the JSON object it printed (None if nothing), or raise ``PluginError``."""
    path = find_plugin(plugin, command, bin_dirs)
    try:
        finished = await runtime_exec.run(
            f"CNI plugin {plugin} {command}",
            [str(path)],
            stdin=json.dumps(config).encode(),
            env=environment(command, attachment, bin_dirs),
            limit_s=limit_s,
        )
    except OSError as error:
        raise PluginError(plugin, command, f"cannot execute {path}: {error.strerror}") from error
    except WaitExpiredError as error:
        raise PluginError(plugin, command, f"timed out after {limit_s:g} s and was killed") from error
    stderr = finished.stderr.decode(errors="replace")
    answer, unreadable = _one_json_value(finished.stdout)
    _log.debug("%s %s: exit %d in %.1f ms", plugin, command, finished.returncode, finished.seconds * 1000)
    if finished.returncode != 0 or (answer is not None and _is_error(answer)):
        raise _refusal(plugin, command, finished.returncode, answer, finished.stdout, stderr)
    if unreadable:
        raise PluginError(plugin, command, f"stdout is not one JSON object: {unreadable}", stderr=stderr)
    return answer


def _one_json_value(stdout: bytes) -> tuple[Obj | None, str]:
    if not stdout.strip():
        return None, ""
    try:
        value = json.loads(stdout)
    except ValueError as error:
        return None, str(error)
    if not isinstance(value, dict):
        return None, f"it is a {type(value).__name__}"
    return value, ""


def _is_error(answer: Obj) -> bool:
    # An error object with exit status 0 breaks the specification; taking it for a success would be worse.
    return "code" in answer and "msg" in answer


def _refusal(
    plugin: str, command: str, returncode: int, answer: Obj | None, stdout: bytes, stderr: str
) -> PluginError:
    ending = f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
    if answer is None or "msg" not in answer:
        said = stdout.decode(errors="replace").strip()[:400]
        message = f"{ending} without an error object" + (f', stdout "{said}"' if said else "")
        return PluginError(plugin, command, message, stderr=stderr)
    code = answer.get("code")
    return PluginError(
        plugin,
        command,
        str(answer["msg"]) or ending,
        code=code if isinstance(code, int) else UNEXPLAINED,
        details=str(answer.get("details") or ""),
        stderr=stderr,
    )
