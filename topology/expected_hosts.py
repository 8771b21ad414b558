"""What plain hosts must have: the oracle for workloads without Kubernetes.

Here the VirtualMachineInterface is no product of the implementation but what the user asked for through the
config API: the interface, its network, its node and the network namespace it shall be in. It is expected
from the moment when it has an address; what its network reaches follows as for a pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from multinet.model.attachments import Interface
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import API_GROUP, Obj, annotations_of
from topology.expectation import ExpectedInterface, ExpectedPod, services_of

ANNOTATION_NETNS = f"{API_GROUP}/netns"


def expect_hosts(
    hosts: Mapping[str, str], vmis: Iterable[Obj], networks: Iterable[Obj]
) -> tuple[ExpectedPod, ...]:
    """One expectation, called ``host/<name>``, for each host that shall have interfaces.

    ``hosts`` has the path of each one's network namespace, as the user gave it to the config API. A host
    whose interfaces are on several nodes is left out: reachability knows one node for each.
    """
    known = {network.name: network for network in map(VirtualNetwork.from_object, networks)}
    asked: dict[str, list[Interface]] = {}
    for vmi in vmis:
        interface = Interface.from_object(vmi)
        if not interface.pod.name and interface.addresses and interface.network in known:
            asked.setdefault(annotations_of(vmi).get(ANNOTATION_NETNS, ""), []).append(interface)
    found = []
    for name, netns in sorted(hosts.items()):
        interfaces = sorted(asked.get(netns, ()), key=lambda item: (item.index, item.interface))
        if len({item.node for item in interfaces}) == 1:
            expected = tuple(_expected(item, known[item.network]) for item in interfaces)
            found.append(ExpectedPod(f"host/{name}", f"host/{name}", interfaces[0].node, expected))
    return tuple(found)


def _expected(interface: Interface, network: VirtualNetwork) -> ExpectedInterface:
    return ExpectedInterface(
        index=interface.index,
        interface=interface.interface,
        mac=interface.mac,
        network=network.name,
        fq_name=network.fq_name,
        nad="",
        vni=network.vni,
        forwarding_mode=network.mode,
        underlay=network.is_underlay,
        services=services_of(network, [ip_address(each.address) for each in interface.addresses]),
        subnets=tuple(str(subnet.cidr) for subnet in network.subnets),
    )
