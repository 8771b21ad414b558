"""``python -m conformance.agenthost``: a node agent in a cluster that is made up.

The agent, its data path, the socket and the plugin are the real ones; what a controller and an API would tell
the agent is told here, when a call names a pod for the first time: it gets the default network and one more.
The process serves until standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from conformance.cnicall import ip
from multinet.model.attachments import Address, AttachedInterface, Interface, PodRef, VirtualMachine
from multinet.model.conditions import Condition
from multinet.model.networks import ORIGIN_CLUSTER, ORIGIN_NAD, Subnet, VirtualNetwork
from multinet.vrouter.agent import Agent
from multinet.vrouter.bridge import BridgeDatapath
from multinet.vrouter.server import listening
from multinet.vrouter.states import StateFiles
from multinet.vrouter.view import ClusterView, PodPlan

NODE, NODE_IP, UPLINK = "node1", "100.64.0.11", "agent0"
UNKNOWN_POD = "unknown"
NETWORKS = (
    VirtualNetwork(
        ("default-domain", "k8s-default", "default"),
        (Subnet.of("10.32.0.0/12"),),
        vni=1,
        forwarding_mode="l3",
        object_name="default",
        origin=ORIGIN_CLUSTER,
    ),
    VirtualNetwork(
        ("default-domain", "k8s-default", "side"),
        (Subnet.of("10.97.0.0/16"),),
        vni=2,
        forwarding_mode="l2_l3",
        object_name="side",
        origin=ORIGIN_NAD,
    ),
)


class MadeUpCluster(ClusterView):
    """A view in which every pod is decided as soon as it is asked for."""

    def plan_of(self, namespace: str, pod: str, uid: str) -> PodPlan | None:
        """As in a cluster whose controller is quicker than any runtime."""
        known = super().plan_of(namespace, pod, uid)
        if known is not None or pod == UNKNOWN_POD:
            return known
        self._decide(PodRef(namespace, pod, uid or str(uuid.uuid4())))
        return super().plan_of(namespace, pod, uid)

    def _decide(self, ref: PodRef) -> None:
        number = len(self._machines) + 1
        interfaces = [
            Interface(
                pod=ref,
                node=NODE,
                index=index,
                of=len(NETWORKS),
                network=network.object_name,
                vni=network.vni,
                forwarding_mode=network.forwarding_mode,
                nad="" if index == 0 else f"default/{network.object_name}",
                interface=f"eth{index}",
                mac=f"02:00:00:{number >> 8:02x}:{number & 255:02x}:{index:02x}",
                addresses=tuple(
                    Address(str(each.dns - number), each.cidr.prefixlen, str(each.gateway), str(each.dns))
                    for each in network.subnets
                    if each.dns is not None
                ),
            )
            for index, network in enumerate(NETWORKS)
        ]
        for interface in interfaces:
            self.interface_changed(None, interface.to_object())
        names = tuple(each.name for each in interfaces)
        machine = VirtualMachine(ref, NODE, names, Condition("Resolved", "True", "Resolved", ""))
        self.machine_changed(None, machine.to_object())


class Nobody:
    """Where the agent writes what it made, in a cluster that is made up."""

    async def report(
        self, machine: VirtualMachine, seen: Sequence[AttachedInterface], network_status: str | None
    ) -> None:
        """Nobody reads it."""


async def serve(folder: Path) -> None:
    """Be the agent of this network namespace."""
    view = MadeUpCluster(NODE)
    datapath = BridgeDatapath(NODE_IP, view.remotes)
    agent = Agent(view, datapath, StateFiles(folder / "agent"), Nobody(), limit_s=0.5)
    for network in NETWORKS:
        view.network_changed(None, network.to_object())
    agent.open()
    try:
        async with listening(folder / "agent.sock", agent.handle):
            await agent.reconcile(NETWORKS[0].vni)
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        datapath.close()


def main() -> None:
    """Make the node's uplink and serve."""
    parser = argparse.ArgumentParser(prog="conformance.agenthost")
    parser.add_argument("--folder", type=Path, required=True)
    folder: Path = parser.parse_args().folder
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    ip("link", "add", "name", UPLINK, "mtu", "1600", "type", "veth", "peer", "name", f"{UPLINK}-peer")
    for name in (UPLINK, f"{UPLINK}-peer"):
        ip("link", "set", name, "up")
    ip("address", "add", f"{NODE_IP}/24", "dev", UPLINK)
    asyncio.run(serve(folder))


if __name__ == "__main__":
    main()
