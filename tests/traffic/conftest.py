"""Small networks for the lab tests: named namespaces wired to bridges that stand in a namespace of their own.

Nothing is made in the namespace the tests run in, so a mistake can't reach the machine's own network.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from traffic.endpoint import Endpoint, inspect

_SERIAL = itertools.count(1)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Net:
    """Pods, and a switch namespace with bridges."""

    def __init__(self) -> None:
        self.mark = f"t{next(_SERIAL)}"
        self._names: list[str] = []
        self.switch = self._namespace("switch")
        self._ports = itertools.count(1)

    def _namespace(self, name: str) -> str:
        full = f"{self.mark}-{name}"
        ip("netns", "add", full)
        self._names.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        # Kept quiet, so that a test sees its own frames only.
        subprocess.run(
            ["ip", "netns", "exec", full, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"],
            check=True,
        )
        return full

    def ip(self, *arguments: str) -> None:
        ip(*arguments)

    def sysctl(self, name: str, setting: str) -> None:
        subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", setting], check=True)

    def pod(self, name: str) -> str:
        return self._namespace(name)

    def bridge(self, name: str) -> None:
        ip("-n", self.switch, "link", "add", "name", name, "type", "bridge", "forward_delay", "0")
        ip("-n", self.switch, "link", "set", name, "up")

    def wire(self, pod: str, interface: str, address: str, bridge: str = "") -> str:
        """A veth from the pod to the switch namespace; returns the name of the end there."""
        port = f"p{next(self._ports)}"
        link = ["link", "add", "name", port, "netns", self.switch, "type", "veth"]
        ip(*link, "peer", "name", interface, "netns", pod)
        if bridge:
            ip("-n", self.switch, "link", "set", port, "master", bridge)
        ip("-n", self.switch, "link", "set", port, "up")
        ip("-n", pod, "link", "set", interface, "up")
        ip("-n", pod, "address", "add", address, "dev", interface)
        return port

    def path(self, name: str) -> str:
        return f"/run/netns/{name}"

    @property
    def control(self) -> list[str]:
        return [self.path(self.switch)]

    def endpoints(self, *pods: str) -> list[Endpoint]:
        """Endpoints named ``default/<pod without the test's mark>``."""
        return [
            endpoint
            for pod in pods
            for endpoint in inspect(f"default/{pod.removeprefix(self.mark + '-')}", self.path(pod))
        ]

    def close(self) -> None:
        for name in self._names:
            ip("netns", "delete", name)


@pytest.fixture
def net() -> Iterator[Net]:
    Path("/run/netns").mkdir(parents=True, exist_ok=True)
    network = Net()
    yield network
    network.close()
