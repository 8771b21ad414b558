"""One call of one CNI plugin, as a runtime makes it: environment, standard input, exit status, output.

Tests say what is special about a call; everything else is what the target says it needs
(:class:`conformance.target.PluginCall`). Nothing here knows whose plugin it is.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.recorder import environment
from conformance.target import PluginTarget
from multinet.errors import LabError
from multinet.model.objects import Obj

#: Versions that CNI has, newest last.
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NETWORK = "conformance"
#: The name of the suite's own IPAM plugin.
IPAM = "conformance-ipam"
IFNAME = "eth0"
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Container:
    """A container's id and its network namespace (a path)."""

    id: str
    netns: str

    @classmethod
    def make(cls) -> Container:
        """A new one with an empty network namespace."""
        name = f"c{uuid.uuid4().hex[:12]}"
        ip("netns", "add", name)
        ip("link", "set", "lo", "up", inside=name)
        return cls(name, f"/run/netns/{name}")

    @classmethod
    def of(cls, name: str) -> Container:
        """One that :meth:`make` made."""
        return cls(name, f"/run/netns/{name}")

    def remove(self) -> None:
        """Take its namespace away; one that is gone is fine."""
        subprocess.run(["ip", "netns", "delete", self.id], capture_output=True, check=False)

    def links(self) -> dict[str, Obj]:
        """Its interfaces by name."""
        return {link["ifname"]: link for link in show("link", inside=self.id)}

    def addresses(self, ifname: str) -> set[str]:
        """The addresses of an interface with their prefix length, link-local ones left out."""
        return {
            f"{info['local']}/{info['prefixlen']}"
            for link in show("address", "show", "dev", ifname, inside=self.id)
            for info in link.get("addr_info", ())
            if info.get("scope") != "link"
        }

    def destinations(self) -> set[str]:
        """The destinations of its routes; ``default`` is one."""
        return {route["dst"] for family in ("-4", "-6") for route in self.routes(family)}

    def routes(self, family: str) -> list[Obj]:
        """Its routes; ``family`` is ``-4`` or ``-6``."""
        return show(family, "route", inside=self.id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended."""

    command: str
    status: int
    stdout: str
    stderr: str

    @property
    def result(self) -> Obj:
        """The result of a call that must succeed; ``AssertionError`` otherwise."""
        assert self.status == 0, f"{self.command} failed: {self}"
        return self._object()

    @property
    def error(self) -> Obj:
        """The error object of a call that must fail; ``AssertionError`` otherwise."""
        assert self.status != 0, f"{self.command} succeeded: {self}"
        assert self.status > 0, f"{self.command} was killed by signal {-self.status}"
        found = self._object()
        assert isinstance(found.get("msg"), str), f"no msg in the error object: {self}"
        return found

    @property
    def code(self) -> int:
        """The code of the error object."""
        code = self.error.get("code")
        assert isinstance(code, int), f"no code in the error object: {self}"
        return code

    def _object(self) -> Obj:
        try:
            value = json.loads(self.stdout)
        except ValueError as error:
            raise AssertionError(f"{self.command} printed not one JSON value: {self}") from error
        assert isinstance(value, dict), f"{self.command} printed no JSON object: {self}"
        return value

    def __str__(self) -> str:
        shown = [f"exit status {self.status}", f"stdout {self.stdout[:600]!r}"]
        return ", ".join([*shown, *([f"stderr {self.stderr[:300]!r}"] if self.stderr else [])])


class Caller:
    """Calls the target's plugin. ``version`` is the newest one it speaks of those that CNI has."""

    def __init__(self, target: PluginTarget, version: str) -> None:
        self.target = target
        self.version = version
        self.call = target.call()

    def config(self, **changes: Any) -> Obj:
        """The configuration with changes; None takes a key away."""
        made = {"cniVersion": self.version, "name": NETWORK, **self.call.config, **changes}
        return {key: value for key, value in made.items() if value is not None}

    def __call__(
        self,
        command: str,
        container: Container | None = None,
        *,
        config: Obj | None = None,
        stdin: bytes | None = None,
        path: Sequence[Path] | None = None,
        **env: str | None,
    ) -> Outcome:
        """Call and wait for the end. ``env`` changes CNI variables; None leaves one out."""
        return finish(command, self.start(command, container, path=path, **env), self._text(config, stdin))

    def start(
        self,
        command: str,
        container: Container | None = None,
        *,
        path: Sequence[Path] | None = None,
        **env: str | None,
    ) -> subprocess.Popen[str]:
        """Start a call, which waits for its standard input: see :func:`finish`."""
        given: dict[str, str | None] = {"CNI_COMMAND": command}
        if container is not None:
            arguments = (f"{key}={value.format(container=container.id)}" for key, value in self.call.args)
            given |= {
                "CNI_CONTAINERID": container.id,
                "CNI_NETNS": container.netns,
                "CNI_IFNAME": IFNAME,
                "CNI_ARGS": ";".join(arguments),
            }
        whole: dict[str, str | None] = {
            **environment(path if path is not None else self.target.cni_path),
            **self.call.environment,
            **given,
            **env,
        }
        return subprocess.Popen(
            [str(self.target.binary)],
            env={key: value for key, value in whole.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def text(self, config: Obj | None = None) -> str:
        """The configuration as standard input."""
        return self._text(config, None)

    def _text(self, config: Obj | None, stdin: bytes | None) -> str:
        if stdin is not None:
            return stdin.decode("utf-8", "surrogateescape")
        return json.dumps(self.config() if config is None else config)


def finish(command: str, started: subprocess.Popen[str], stdin: str) -> Outcome:
    """Give a started call its input and wait for its end; ``LabError`` when it does not come."""
    with started:
        try:
            out, err = started.communicate(stdin, timeout=_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            started.kill()
            raise LabError(f"{command} did not end within {_LIMIT_S:g} s") from error
    return Outcome(command, started.returncode, out, err)


def ip(*words: str, inside: str = "") -> str:
    """Run ``ip``, which must succeed."""
    where = ("-n", inside) if inside else ()
    done = subprocess.run(["ip", *where, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(words)} failed", where=inside, why=done.stderr.strip())
    return done.stdout


def show(*words: str, inside: str = "") -> list[Obj]:
    """What ``ip -j`` lists; nothing where it prints nothing."""
    found: list[Obj] = json.loads(ip("-j", *words, inside=inside) or "[]")
    return [item for item in found if item]


def previous(container: Container, ifname: str, version: str) -> Mapping[str, Any]:
    """Make an interface as a plugin earlier in the chain would have, and the result it would have printed."""
    ip("link", "add", "name", ifname, "type", "veth", "peer", "name", f"{ifname}-peer", inside=container.id)
    ip("link", "set", ifname, "up", inside=container.id)
    ip("address", "add", "192.0.2.9/24", "dev", ifname, inside=container.id)
    mac = container.links()[ifname]["address"]
    address: dict[str, Any] = {"address": "192.0.2.9/24", "interface": 0}
    if version < "1.0.0":
        address["version"] = "4"
    return {
        "cniVersion": version,
        "interfaces": [{"name": ifname, "mac": mac, "sandbox": container.netns}],
        "ips": [address],
        "dns": {},
    }
