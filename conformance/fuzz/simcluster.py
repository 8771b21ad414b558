"""A whole cluster in one process: the embedded API, the real controller, and nodes with the real agent.

Driven from outside, one action at a time: :meth:`SimulatedCluster.do` runs an action and everything that
follows from it until nothing moves any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from conformance.fuzz.clock import VirtualLoop
from conformance.fuzz.localapi import Line, LocalApi
from conformance.fuzz.simconfig import SimulatedConfigApi
from conformance.fuzz.simnode import SimulatedNode
from multinet.controller.controller import Controller
from multinet.controller.settings import Settings
from multinet.errors import LabError
from multinet.kube.client import Client
from multinet.kube.resources import NODES
from multinet.model.dialect import DEFAULT, Dialect
from multinet.model.objects import Obj

T = TypeVar("T")
# A little more than a kubelet's back-off: what can go on has been tried again before anyone looks.
_HORIZON_S = 1.2
_ADMIN = "administrator"


class Unheard:
    """Takes the controller's Events: no rule of the fuzzer speaks of them."""

    def record(self, obj: Obj, type: str, reason: str, message: str) -> None:
        """Forget one."""


class SimulatedCluster:
    """A context manager. ``client`` is the administrator's and the users'."""

    def __init__(self, *, nodes: int = 2, dialect: Dialect = DEFAULT) -> None:
        self.dialect = dialect
        self.loop = VirtualLoop()
        self.controller_line = Line("controller")
        self.nodes: dict[str, SimulatedNode] = {}
        self._controller: asyncio.Task[None] | None = None
        self.api: LocalApi
        self.client: Client
        self.config: SimulatedConfigApi
        self.do("start", self._start(nodes))

    def __enter__(self) -> SimulatedCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.settle(0.0)
        self.loop.close()

    def do(self, name: str, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, and all that follows from it."""
        return self.loop.finish(name, work, _HORIZON_S)

    def settle(self, seconds: float = _HORIZON_S) -> None:
        """Let ``seconds`` of virtual time pass."""
        self.loop.settle(seconds)

    def act(self, name: str, action: Callable[[], None]) -> None:
        """Run a function inside the loop, and all that follows from it."""

        async def run() -> None:
            action()

        self.do(name, run())

    def restart_controller(self) -> None:
        """End the controller in the middle of whatever it does, and start a new one."""
        self.act("the controller ends", self._stop_controller)
        self.act("the controller starts", self._start_controller)

    def _stop_controller(self) -> None:
        if self._controller is not None:
            self._controller.cancel()

    def _start_controller(self) -> None:
        client = self.api.client(self.controller_line)
        controller = Controller(client, Unheard(), settings=Settings(dialect=self.dialect))
        self._controller = asyncio.create_task(controller.run(), name="controller")
        self._controller.add_done_callback(_ended)

    async def _start(self, nodes: int) -> None:
        self.api = LocalApi()
        self.client = self.api.client(Line(_ADMIN))
        self.config = SimulatedConfigApi(self.api.client(Line("config API")))
        for number in range(1, nodes + 1):
            name, address = f"node{number}", f"192.0.2.{number}"
            made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
            await self.client.create(NODES, made)
            status = {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}
            await self.client.patch(NODES, name, status, subresource="status")
            node = self.nodes[name] = SimulatedNode(self.api, name, address, self.dialect)
            node.start()
        self._start_controller()


def _ended(task: asyncio.Task[None]) -> None:
    """A controller that ends by itself is a failure of the thing under test, and must not go unseen."""
    if not task.cancelled() and task.exception() is not None:
        raise LabError("the controller ended by itself") from task.exception()
