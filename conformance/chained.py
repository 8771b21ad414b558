"""A list of CNI plugins as if it were one plugin: an executable that calls them as a runtime does (CNI, 3).

So the suite's tests of plugins apply to a list as a whole. It decides nothing itself: what a plugin prints
and how it ends is passed on, and whatever is no list, or no command for lists, goes to the first plugin as it
is. Keys beside ``plugins`` in the configuration go to every plugin, but ``ipam`` only to those that have one,
and of ``runtimeConfig`` a plugin gets what it has capabilities for.

:func:`install` writes it; it needs the standard library only, and starts in a moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

_LIST = ".json"
_NOT_HANDED_ON = ("plugins", "ipam", "runtimeConfig")


def install(path: str, executables: Iterable[str]) -> None:
    """Write the executable for a list of these plugins, in their order."""
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - as below
        source = file.read()
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"#!{sys.executable} -IS\n{source}")
    os.chmod(path, 0o755)  # noqa: PTH101
    with open(path + _LIST, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(list(executables), file)


def main() -> int:
    """One call; the exit status is that of the plugin which had the last word."""
    with open(sys.argv[0] + _LIST, encoding="utf-8") as file:  # noqa: PTH123
        executables = json.load(file)
    stdin = sys.stdin.read()
    plugins = _plugins(stdin)
    command = os.environ.get("CNI_COMMAND")
    if command == "VERSION":
        return _versions(executables, stdin)
    if plugins is None or len(plugins) != len(executables) or command not in _COMMANDS:
        return _tell(_call(executables[0], stdin))
    return _COMMANDS[command](list(zip(executables, plugins, strict=True)))


def _plugins(stdin: str) -> list[dict[str, Any]] | None:
    """What each plugin is to receive; None where the input is no list of plugins."""
    try:
        whole = json.loads(stdin)
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, dict) or not isinstance(whole.get("plugins"), list):
        return None
    shared = {key: value for key, value in whole.items() if key not in _NOT_HANDED_ON}
    wishes = whole.get("runtimeConfig") or {}
    made = []
    for plugin in whole["plugins"]:
        own = {key: value for key, value in plugin.items() if key != "capabilities"} | shared
        if "ipam" in whole and "ipam" in plugin:
            own["ipam"] = whole["ipam"]
        able = {key for key, value in (plugin.get("capabilities") or {}).items() if value}
        if wanted := {key: value for key, value in wishes.items() if key in able}:
            own["runtimeConfig"] = wanted
        made.append(own)
    return made


def _call(executable: str, stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [executable], input=stdin, capture_output=True, text=True, check=False, errors="surrogateescape"
    )


def _tell(done: subprocess.CompletedProcess[str]) -> int:
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _versions(executables: list[str], stdin: str) -> int:
    """Those that all of them speak."""
    shared: list[str] | None = None
    for executable in executables:
        done = _call(executable, stdin)
        try:
            answer = json.loads(done.stdout)
            spoken = answer["supportedVersions"]
        except (ValueError, KeyError, TypeError):
            return _tell(done)
        shared = [one for one in spoken if shared is None or one in shared]
    json.dump({**answer, "supportedVersions": shared}, sys.stdout)
    return 0


def _add(steps: list[tuple[str, dict[str, Any]]]) -> int:
    """In order, each with the result of the one before; the first that fails ends it."""
    previous: dict[str, Any] = {}
    for executable, config in steps:
        done = _call(executable, json.dumps(config | previous))
        try:
            previous = {"prevResult": json.loads(done.stdout)}
        except ValueError:
            return _tell(done)
        if done.returncode != 0:
            break
    return _tell(done)


def _each(steps: list[tuple[str, dict[str, Any]]]) -> int:
    """In order; the first that fails ends it."""
    for executable, config in steps:
        done = _call(executable, json.dumps(config))
        if done.returncode != 0:
            break
    return _tell(done)


def _all(steps: list[tuple[str, dict[str, Any]]]) -> int:
    """In order, whatever fails; the first failure is told."""
    ends = [_call(executable, json.dumps(config)) for executable, config in steps]
    return _tell(next((done for done in ends if done.returncode != 0), ends[-1]))


_COMMANDS = {
    "ADD": _add,
    "CHECK": _each,
    "STATUS": _each,
    "DEL": lambda steps: _each(steps[::-1]),
    "GC": _all,
}


if __name__ == "__main__":
    sys.exit(main())
