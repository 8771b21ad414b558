"""Two or three nodes as network namespaces on one underlay bridge, each with a data path and an agent."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multinet.cni.wire import Call
from multinet.model.attachments import Address, Interface, PodRef, VirtualMachine
from multinet.model.conditions import Condition
from multinet.model.networks import ORIGIN_CLUSTER, ORIGIN_NAD, ORIGIN_NAMESPACE, Subnet, VirtualNetwork
from multinet.vrouter import gateways, netns, nft
from multinet.vrouter.agent import Agent
from multinet.vrouter.bridge import BridgeDatapath
from multinet.vrouter.hostports import HostPorts, NoHostPorts
from multinet.vrouter.policing import NftFilter, Policing
from multinet.vrouter.portgate import PortGate
from multinet.vrouter.states import StateFiles
from multinet.vrouter.view import ClusterView

ETH_P_ALL = 3
CONFIG = {"cniVersion": "1.0.0", "name": "multinet", "type": "multinet-cni"}
VNIS = {
    "default": 1,
    "red": 0x22,
    "blue": 0x33,
    "iso": 0x44,
    "iso2": 0x55,
    "dual": 0x66,
    "dual2": 0x77,
    "out": 0x88,
    "out2": 0x10088,
    "plain": 0x99,
    "plain2": 0xAA,
}
# Routed in the underlay, by ip_fabric_forwarding; a test that wants them says so (Lab.tell_underlaid).
UNDERLAID = ("plain", "plain2")
ROUTED = ("default", "iso", "iso2")
MODES = {name: "l3" if name in (*ROUTED, *UNDERLAID) else "l2_l3" for name in VNIS}
CIDRS = {
    **dict.fromkeys(ROUTED, ("10.32.0.0/12",)),
    **dict.fromkeys(("red", "blue"), ("10.1.1.0/24",)),
    **dict.fromkeys(("dual", "dual2"), ("10.1.2.0/24", "fd00:1:2::/64")),
    **dict.fromkeys(("out", "out2"), ("10.1.3.0/24",)),
    "plain": ("10.60.0.0/24",),
    "plain2": ("10.61.0.0/24",),
}
ORIGINS = {"default": ORIGIN_CLUSTER, "iso": ORIGIN_NAMESPACE, "iso2": ORIGIN_NAMESPACE}


def ip(*words, netns=None):
    inside = ["-n", netns] if netns else []
    done = subprocess.run(["ip", *inside, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def networks():
    return {
        name: VirtualNetwork(
            fq_name=("default-domain", "k8s-default", name),
            subnets=tuple(Subnet.of(cidr) for cidr in CIDRS[name]),
            vni=VNIS[name],
            forwarding_mode="l3" if name in ROUTED else "l2_l3",
            object_name=name,
            fabric_snat=name in ("out", "out2"),
            ip_fabric_forwarding=name in UNDERLAID,
            origin=ORIGINS.get(name, ORIGIN_NAD),
            pool="default" if name in ("iso", "iso2") else "",
        )
        for name in VNIS
    }


@dataclass
class Cluster:
    """The objects of a cluster, told to the views of all its nodes."""

    views: list[ClusterView] = field(default_factory=list)
    objects: list[tuple[str, dict]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def tell(self, what, new, old=None):
        if new is not None:
            self.objects.append((what, new))
        else:
            self.objects.remove((what, old))
        for view in self.views:
            getattr(view, f"{what}_changed")(old, new)

    def find(self, what, name):
        """The object of that kind and name that was told."""
        return next(obj for kind, obj in self.objects if kind == what and obj["metadata"]["name"] == name)

    def join(self, view):
        self.views.append(view)
        for what, obj in self.objects:
            getattr(view, f"{what}_changed")(None, obj)

    def pod(self, node, name, nets, *, uid=None, namespace="default", limits=None, mappings=None,
            secured=True, devices=None):  # fmt: skip
        """Decide a pod as the controller does; returns (VM object, VMI objects)."""
        number = len(self.numbers) + 1
        uid = uid or f"{number:08x}-0000-4000-8000-000000000000"
        self.numbers[uid] = number
        ref = PodRef(namespace, name, uid)
        known = networks()
        interfaces = []
        for index, network in enumerate(nets):
            addresses = tuple(
                Address(str(each.dns - number), each.cidr.prefixlen, str(each.gateway), str(each.dns))
                for each in known[network].subnets
            )
            interfaces.append(
                Interface(
                    pod=ref,
                    node=node,
                    index=index,
                    of=len(nets),
                    network=network,
                    vni=VNIS[network],
                    forwarding_mode=MODES[network],
                    nad="" if index == 0 else f"default/{network}",
                    interface=f"eth{index}",
                    mac=f"02:00:00:00:{number:02x}:{index:02x}",
                    addresses=addresses,
                    bandwidth=(limits or {}).get(network),
                    port_mappings=(mappings or {}).get(network, ()),
                    port_security=secured or index == 0,
                    device=(devices or {}).get(network, ""),
                )
            )
        for interface in interfaces:
            self.tell("interface", interface.to_object())
        machine = VirtualMachine(
            ref, node, tuple(each.name for each in interfaces), Condition("Resolved", "True", "Resolved", "")
        )
        self.tell("machine", machine.to_object())
        return machine, interfaces

    def gone(self, machine, interfaces):
        for interface in interfaces:
            self.tell("interface", None, interface.to_object())
        self.tell("machine", None, machine.to_object())


class Reports:
    """A reporter that keeps what it is told, or refuses."""

    def __init__(self):
        self.said = []
        self.error = None

    async def report(self, machine, seen, network_status):
        if self.error:
            raise self.error
        self.said.append((machine, tuple(seen), json.loads(network_status) if network_status else None))


class Node:
    def __init__(self, lab, name, ip_address, directory, ip6=""):
        self.lab, self.name, self.ip, self.directory, self.ip6 = lab, name, ip_address, directory, ip6
        self.reports = Reports()
        self.start()

    def start(self):
        """A new agent process, as far as a test can have one: nothing is kept but the kernel and files."""
        self.view = ClusterView(self.name)
        self.lab.cluster.join(self.view)
        with Path(f"/run/netns/{self.name}").open() as handle, netns.entered(handle.fileno()):
            self.datapath = BridgeDatapath(self.ip, self.view.remotes, node_ip6=self.ip6)
            states = StateFiles(self.directory / self.name)
            self.inside = Path(f"/run/netns/{self.name}").open()  # noqa: SIM115
            filter_ = NftFilter(self.inside.fileno())
            self.policing = Policing(self.view.interfaces, rules=filter_, limit_s=0.3)
            self.policing.policies_listed()
            self.lab.tell_policing(self.policing)
            gate = PortGate(gateways.path_of(self.ip), inside=self.inside.fileno())
            lack = nft.lack()
            self.host_ports = (
                NoHostPorts(lack)
                if lack
                else HostPorts(self.ip, gate, node_ip6=self.ip6, inside=self.inside.fileno())
            )
            self.agent = Agent(
                self.view,
                self.datapath,
                states,
                self.reports,
                limit_s=0.3,
                guard=self.policing,
                host_ports=self.host_ports,
            )
            self.agent.open()

    def stop(self):
        self.lab.cluster.views.remove(self.view)
        self.datapath.close()
        self.inside.close()

    async def sync(self):
        await self.agent.synced()
        for vni in VNIS.values():
            await self.agent.reconcile(vni)

    async def call(self, command, container, sandbox="", pod="", namespace="default", uid="", config=None):
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/run/netns/{sandbox}" if sandbox else "",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={pod};K8S_POD_UID={uid}" if pod else "",
        }
        reply = await self.agent.handle(Call(environment, json.dumps({**CONFIG, **(config or {})}).encode()))
        return reply.code, json.loads(reply.stdout or b"{}")

    def links(self):
        return {link["ifname"] for link in json.loads(ip("-j", "link", netns=self.name))}


class Lab:
    def __init__(self, directory, underlay_mtu=1600):
        self.cluster = Cluster()
        self.directory = directory
        self.underlay_mtu = underlay_mtu
        self.dual = False
        """Whether nodes made from now on have an IPv6 address too."""
        self.nodes = {}
        self.namespaces = []
        self.policy_objects = [
            ("namespace", {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
            for name in ("default", "other")
        ]
        self.sockets = []
        ip("link", "add", "name", "fabric", "type", "bridge")
        ip("link", "set", "fabric", "up", "mtu", str(underlay_mtu))
        for name, network in networks().items():
            if name not in UNDERLAID:
                self.cluster.tell("network", network.to_object())

    def tell_underlaid(self):
        """Have the networks that are routed in the underlay as well, before there are nodes."""
        for name in UNDERLAID:
            self.cluster.tell("network", networks()[name].to_object())

    def node(self, name):
        number = 11 + len(self.nodes)
        self.namespace(name)
        ip("link", "add", "name", f"f-{name}", "mtu", str(self.underlay_mtu), "type", "veth", "peer",
           "name", "eth0", "netns", name)  # fmt: skip
        ip("link", "set", f"f-{name}", "master", "fabric", "up")
        address = f"100.64.0.{number}"
        self.uplink(name, number)
        node = {"metadata": {"name": name},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]}}  # fmt: skip
        self.cluster.tell("node", node)
        self.nodes[name] = Node(self, name, address, self.directory, self.address6(number))
        return self.nodes[name]

    def address6(self, number):
        return f"fd00:100:64::{number}" if self.dual else ""

    def uplink(self, name, number):
        """Addresses for a machine on the fabric whose eth0 is down."""
        if self.dual:
            words = ["sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"]
            subprocess.run(["ip", "netns", "exec", name, *words], check=True)
        elif netns.has_ipv6():
            # An address of its own would appear seconds later, in the middle of a comparison.
            ip("link", "set", "eth0", "addrgenmode", "none", netns=name)
        ip("link", "set", "eth0", "mtu", str(self.underlay_mtu), "up", netns=name)
        ip("addr", "add", f"100.64.0.{number}/24", "dev", "eth0", netns=name)
        if self.dual:
            ip("addr", "add", f"{self.address6(number)}/64", "dev", "eth0", "nodad", netns=name)

    def outside(self, name="out", number=99):
        """A machine on the fabric that knows no pod."""
        self.namespace(name)
        ip("link", "add", "name", f"f-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"f-{name}", "master", "fabric", "up")
        self.uplink(name, number)

    def tell_policing(self, policing):
        """All that a policing starts with."""
        for what, obj in self.policy_objects:
            getattr(policing, f"{what}_changed")(None, obj)
        policing.peers_listed()

    async def policy(self, what, new, old=None):
        """A policy, pod or namespace comes, changes or goes, and is in force when this returns."""
        self.policy_objects = [each for each in self.policy_objects if each[1] is not old]
        self.policy_objects += [(what, new)] if new is not None else []
        for node in self.nodes.values():
            getattr(node.policing, f"{what}_changed")(old, new)
            await node.policing.update()

    def namespace(self, name):
        ip("netns", "add", name)
        ip("link", "set", "lo", "up", netns=name)
        self.namespaces.append(name)
        return name

    async def run(self, node, name, nets, labels=None, **more):
        """A pod, decided and attached; returns its VM and interfaces."""
        decided = self.cluster.pod(node.name, name, nets, **more)
        ref = decided[0].pod
        metadata = {"name": name, "namespace": ref.namespace, "uid": ref.uid, "labels": labels or {}}
        self.policy_objects.append(("pod", {"metadata": metadata, "spec": {}}))
        for each in self.nodes.values():
            each.policing.pod_changed(None, self.policy_objects[-1][1])
        self.namespace(name)
        code, answer = await node.call("ADD", f"c-{name}", name, name, uid=decided[0].pod.uid)
        assert code == 0, answer
        for each in self.nodes.values():
            for vni in VNIS.values():
                await each.agent.reconcile(vni)
            await each.policing.update()
        return decided

    def listen(self, namespace, device):
        """A socket that hears every frame on a device of a namespace, from now on until the lab ends."""
        with Path(f"/run/netns/{namespace}").open() as handle, netns.entered(handle.fileno()):
            heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        heard.bind((device, ETH_P_ALL))
        heard.setblocking(False)
        self.sockets.append(heard)
        return heard

    def ping(self, source, address, *words, count=1, wait_s=10):
        """Whether it answers, and what ping said; ``wait_s`` is to be short where no answer must come."""
        argv = ["ip", "netns", "exec", source, "ping", "-n", "-c", str(count), "-W", str(wait_s), "-i", "0.2"]
        done = subprocess.run([*argv, *words, address], capture_output=True, text=True, check=False)
        return done.returncode == 0, done.stdout

    def close(self):
        for each in self.sockets:
            each.close()
        for node in self.nodes.values():
            node.datapath.close()
            node.inside.close()
            ip("link", "delete", f"f-{node.name}")
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        subprocess.run(["ip", "link", "delete", "fabric"], check=False)


@pytest.fixture
async def lab(tmp_path, request):
    """A lab for nodes; parametrized with ``indirect`` it has that MTU of the underlay."""
    if os.geteuid() != 0 or not Path("/run/netns").parent.exists():
        pytest.fail("lab tests need a private network namespace and root in it")
    made = Lab(tmp_path, getattr(request, "param", 1600))
    with contextlib.closing(made):
        yield made


@pytest.fixture
def cluster():
    made = Cluster()
    for network in networks().values():
        made.tell("network", network.to_object())
    return made


@pytest.fixture
def networks_known():
    """The networks all tests know, by name."""
    return networks()


@pytest.fixture
def reports():
    return Reports()
