"""Real delegates in real network namespaces: the kernel is the oracle, where that does no harm.

The delegates are the CNI project's own plugins, from the system's package of them: links of four kinds, two
ways of managing addresses, and a chain.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from conformance import requirement
from conformance.cnicall import Container, ip
from conformance.delegating import Pod, listed
from conformance.delegating.bench import Case
from multinet.model.objects import Obj

PLUGINS = Path("/usr/lib/cni")
NAMES = ("ptp", "bridge", "macvlan", "host-local", "static", "tuning")
DEFAULT_ROUTE = ({"dst": "0.0.0.0/0"}, {"dst": "::/0"})
# Processes of one run share the node.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
BRIDGE, UPLINK, LEASES = f"br-{_WORKER}", f"up-{_WORKER}", f"/run/leases-{_WORKER}"
MAC = "02:23:45:67:89:01"


def host_local(*subnets: str, routes: tuple[Obj, ...] = ()) -> Obj:
    """Addresses of these subnets."""
    return {
        "type": "host-local",
        "dataDir": LEASES,
        "ranges": [[{"subnet": subnet}] for subnet in subnets],
        "routes": list(routes),
    }


def network(name: str, ipam: Obj, kind: str = "ptp", **more: object) -> Obj:
    """A link of this kind, with addresses."""
    return {"cniVersion": "1.0.0", "name": name, "type": kind, "ipam": ipam, **more}


ADDRESSES = host_local("10.89.0.0/24", "fd00:89::/64")
STATIC = {"type": "static", "addresses": [{"address": "10.89.0.7/24"}, {"address": "fd00:89::7/64"}]}
BRIDGED = network("net-a", ADDRESSES, "bridge", bridge=BRIDGE)
KINDS = {
    "ptp": network("net-a", ADDRESSES),
    "bridge": BRIDGED,
    "macvlan": network("net-a", ADDRESSES, "macvlan", master=UPLINK),
    "static": network("net-a", STATIC, "bridge", bridge=BRIDGE),
    "tuning": listed("net-a", BRIDGED, {"type": "tuning", "mtu": 1400}),
}


@pytest.fixture
def real(case: Case) -> Iterator[Case]:
    """A node whose default network is real, with a NIC for macvlan."""
    missing = [name for name in NAMES if not (PLUGINS / name).exists()]
    if not case.target.isolated or missing:
        case.evidence.not_applicable(f"it needs network namespaces of its own, and {', '.join(NAMES)}")
    for name in NAMES:
        (case.recorder.bin / name).symlink_to(PLUGINS / name)
    addresses = host_local("10.88.0.0/24", "fd00:88::/64", routes=DEFAULT_ROUTE)
    case.on_node(default=network("default-net", addresses))
    ip("link", "add", "name", UPLINK, "type", "veth", "peer", "name", f"{UPLINK}-peer")
    ip("link", "set", UPLINK, "up")
    ip("link", "set", f"{UPLINK}-peer", "up")
    yield case
    for name in (UPLINK, BRIDGE):
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def default_routes(inside: Container) -> dict[str, set[tuple[str, str]]]:
    """Interface and gateway of the default routes, by family."""
    return {
        family: {
            (one["dev"], one.get("gateway", "")) for one in inside.routes(family) if one["dst"] == "default"
        }
        for family in ("-4", "-6")
    }


def compare(case: Case, pod: Pod) -> None:
    """The status has the interfaces of the kernel, with their addresses."""
    inside = Container.of(pod.container)
    status, links = case.status(pod) or [], inside.links()
    case.evidence.saw({"status": status, "links": sorted(links)})
    assert {str(one.get("interface")) for one in status} == set(links) - {"lo"}
    for one in status:
        name = str(one.get("interface"))
        assert one.get("mac") == links[name]["address"]
        known = {str(ip_interface(address).ip) for address in inside.addresses(name)}
        assert {str(ip_interface(address).ip) for address in one.get("ips") or []} == known


@requirement("NPWG-5.3.2-a", "NPWG-5.3.3-a", "NPWG-5.3.4-a")
@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_the_status_is_what_the_kernel_has(real: Case, config: Obj) -> None:
    real.nad("net-a", config)
    real.nad("net-b", network("net-b", host_local("10.90.0.0/24")))
    pod = real.pod("net-a,net-b")
    real.attach(pod)
    compare(real, pod)
    assert real.delete(pod).ok
    assert set(Container.of(pod.container).links()) <= {"lo"}, "interfaces are left after DEL"


@requirement("NPWG-4.1.2.1.4-a", "NPWG-4.1.2.1.4.2-b", "NPWG-5.3.4-a")
def test_a_mac_that_a_plugin_of_the_chain_sets(real: Case) -> None:
    tuning = {"type": "tuning", "capabilities": {"mac": True}}
    real.nad("net-a", listed("net-a", BRIDGED, tuning))
    pod = real.pod([{"name": "net-a", "mac": MAC}])
    real.attach(pod)
    compare(real, pod)
    assert Container.of(pod.container).links()["net1"]["address"] == MAC


@requirement("NPWG-4.1.2.1.3-a", "NPWG-4.1.2.1.3.2-b", "NPWG-5.3.3-a")
def test_addresses_that_a_plugin_for_addresses_assigns(real: Case) -> None:
    capable = network("net-a", {"type": "static"}, "macvlan", master=UPLINK, capabilities={"ips": True})
    real.nad("net-a", capable)
    wanted = ["10.89.0.33/24", "fd00:89::33/64"]
    pod = real.pod([{"name": "net-a", "ips": wanted}])
    real.attach(pod)
    compare(real, pod)
    assert Container.of(pod.container).addresses("net1") == set(wanted)


@requirement("NPWG-4.1.2.1.9-a")
@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        (["10.89.0.1"], {"-4": {("net1", "10.89.0.1")}}),
        (["fd00:89::1"], {"-6": {("net1", "fd00:89::1")}}),
        (["10.89.0.1", "fd00:89::1"], {"-4": {("net1", "10.89.0.1")}, "-6": {("net1", "fd00:89::1")}}),
    ],
    ids=["v4", "v6", "both"],
)
def test_the_default_route_is_the_attachments(
    real: Case, gateways: list[str], expected: dict[str, set[tuple[str, str]]]
) -> None:
    real.nad("net-a", KINDS["ptp"])
    pod = real.pod([{"name": "net-a", "default-route": gateways}])
    real.attach(pod)
    found = default_routes(Container.of(pod.container))
    real.evidence.saw({family: sorted(routes) for family, routes in found.items()})
    for family, routes in expected.items():
        assert found[family] == routes, f"default routes of the pod: {found}"
