"""The node agent as a process.

DEL and CHECK are answered from the start, also while the API is away; the process says that it is ready
when its picture of the cluster is complete.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from multinet.cni import wire
from multinet.errors import MultinetError, NetworkingError
from multinet.kube import carrier, notify
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import NODES, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES, VIRTUAL_NETWORKS
from multinet.model import nodeaddresses
from multinet.model.dialect import DEFAULT, DIALECTS, Dialect
from multinet.vrouter import gateways, hostports, nft, policy_script, policy_watch, services, servicetable
from multinet.vrouter.agent import Agent
from multinet.vrouter.bridge import BridgeDatapath
from multinet.vrouter.hostports import HostPorts, NoHostPorts, Publisher
from multinet.vrouter.introspect import introspection
from multinet.vrouter.policing import Policing
from multinet.vrouter.portgate import PortGate
from multinet.vrouter.repairs import Repairs, Table
from multinet.vrouter.reporter import KubeRepairTeller, KubeReporter, KubeTeller
from multinet.vrouter.server import listening
from multinet.vrouter.services import ServiceProxy
from multinet.vrouter.states import StateFiles
from multinet.vrouter.view import ClusterView
from multinet.vrouter.workloads import Workloads

# Forwarding to members on other nodes follows at most this much later, for a quarter of the time at most.
_LONGEST_REST_S, _REST = 0.02, 4
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    kubeconfig: Path
    node_name: str
    node_ip: str
    node_ip6: str
    state_dir: Path
    socket: Path
    underlay_device: str
    dialect: Dialect


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; exits with status 2 and a usage text when it is wrong."""
    parser = argparse.ArgumentParser(prog="vrouter", description="network agent of one node")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node-name", required=True)
    parser.add_argument(
        "--node-ip",
        required=True,
        type=nodeaddresses.parse,
        help="the node's IPv4 address on the underlay, and its IPv6 one after a comma",
    )
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--socket", type=Path, default=Path(wire.SOCKET_PATH))
    parser.add_argument("--underlay-device", default="auto", help="default: the one that has NODE_IP")
    parser.add_argument(
        "--dialect", choices=sorted(DIALECTS), default=DEFAULT.name, help="the controller's: who writes what"
    )
    given = parser.parse_args(list(argv))
    return Options(
        kubeconfig=given.kubeconfig,
        node_name=given.node_name,
        node_ip=given.node_ip[0],
        node_ip6=given.node_ip[1],
        state_dir=given.state_dir,
        socket=given.socket,
        underlay_device=given.underlay_device,
        dialect=DIALECTS[given.dialect],
    )


def main(argv: list[str]) -> int:
    """Run until SIGTERM; 0 at a clean end, 1 when it could not start."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    options = parse(argv)
    status = 0
    try:
        uvloop.run(run(options))
    except* MultinetError as group:
        status = 1
        for error in group.exceptions:
            _log.error("%s", error)
    except* OSError as group:
        status = 1
        for each in group.exceptions:
            _log.error("%s", _in_words(each))
    return status


def _in_words(error: BaseException) -> NetworkingError:
    where = getattr(error, "filename", None)
    return NetworkingError(
        "the node agent met an I/O error and ends; the kernel goes on forwarding",
        where=str(where or ""),
        why=getattr(error, "strerror", None) or str(error),
        next_step="mend what it names, and start the agent again",
    )


async def run(options: Options) -> None:
    """Run one agent in this event loop until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    view = ClusterView(options.node_name)
    datapath = BridgeDatapath(
        options.node_ip, view.remotes, node_ip6=options.node_ip6, underlay=options.underlay_device
    )
    async with Client(load_kubeconfig(options.kubeconfig)) as client:
        states = StateFiles(options.state_dir)
        recorder = EventRecorder(client, "multinet-vrouter", options.node_name)
        policing = Policing(
            view.interfaces, warn=lambda obj, reason, text: recorder.record(obj, "Warning", reason, text)
        )
        reporter = KubeReporter(client)
        host_ports = _publisher(options)
        proxy = (
            None if (lack := nft.lack()) else ServiceProxy(options.node_ip, view, node_ip6=options.node_ip6)
        )
        agent = Agent(
            view,
            datapath,
            states,
            reporter,
            dialect=options.dialect,
            guard=policing,
            host_ports=host_ports,
        )
        teller = KubeTeller(client, recorder)
        workloads = Workloads(view, datapath, agent.ledger, teller)
        agent.open()
        told = KubeRepairTeller(recorder, options.node_name)
        tables: dict[str, Table] = {hostports.TABLE: host_ports, policy_script.TABLE: policing}
        if proxy is not None:
            tables[servicetable.TABLE] = proxy
        repairs = Repairs(datapath, agent.ledger, told, tables=tables)
        for what in agent.ledger.damaged:
            told.node_warning("StateFileDamaged", what)
        if lack:
            _log.warning("services and network policies are not there: %s", lack)
        try:
            async with (
                listening(options.socket, agent.handle),
                introspection(options.node_ip, lambda: agent.attachments),
                asyncio.TaskGroup() as group,
            ):
                view.on_network(lambda _: policing.members_changed())
                running = [
                    group.create_task(
                        _follow(client, view, agent, workloads, repairs, proxy), name="cluster"
                    ),
                    group.create_task(policy_watch.follow(client, policing), name="policies"),
                    group.create_task(carrier.follow(options.node_ip, client.renew), name="link"),
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            datapath.close()


def _publisher(options: Options) -> Publisher:
    if lack := nft.lack():
        return NoHostPorts(lack)
    gate = PortGate(gateways.path_of(options.node_ip))
    return HostPorts(options.node_ip, gate, node_ip6=options.node_ip6)


class _Networks:
    """Brings networks up to date, each some time after it changed: that takes the longer the larger it is.

    Pods come and go in bursts, and once for several changes is enough. The first one is not kept waiting.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._queue = KeyedQueue(self._reconcile, workers=1, name="networks")
        self._rest_s = 0.0
        self.run = self._queue.run

    def changed(self, vni: int) -> None:
        """Some of the network's members have changed."""
        self._queue.add_after(str(vni), self._rest_s)

    async def _reconcile(self, key: str) -> None:
        begun = time.monotonic()
        await self._agent.reconcile(int(key))
        self._rest_s = min(_LONGEST_REST_S, _REST * (time.monotonic() - begun))


async def _follow(
    client: Client,
    view: ClusterView,
    agent: Agent,
    workloads: Workloads,
    repairs: Repairs,
    proxy: ServiceProxy | None,
) -> None:
    """Keep the view, and with it this node's forwarding, equal to the cluster."""
    informers = [
        (Informer(client, NODES), view.node_changed),
        (Informer(client, VIRTUAL_NETWORKS), view.network_changed),
        (interfaces := Informer(client, VIRTUAL_MACHINE_INTERFACES), view.interface_changed),
        (Informer(client, VIRTUAL_MACHINES), view.machine_changed),
    ]
    networks = _Networks(agent)
    view.on_network(networks.changed)
    view.on_network(workloads.network_changed)
    async with asyncio.TaskGroup() as group:
        for informer, changed in informers:
            informer.on_change(changed)
            group.create_task(informer.run(), name=f"{informer.resource.plural} informer")
        interfaces.on_change(workloads.changed)
        for informer, _ in informers:
            await informer.synced.wait()
        await agent.synced()
        # Not before: with half a view, forwarding of running pods would be taken away.
        group.create_task(networks.run(), name="networks")
        group.create_task(workloads.run(), name="workloads")
        group.create_task(repairs.run(), name="repairs")
        if proxy is not None:
            group.create_task(services.follow(client, view, interfaces, proxy), name="services")
        notify.ready()
        _log.info("the node agent serves")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
