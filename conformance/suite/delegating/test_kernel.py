"""Real delegates in real network namespaces: the kernel is the oracle, where that does no harm.

The delegates are the CNI project's own plugins, from the system's package of them.
"""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest

from conformance import requirement
from conformance.cnicall import Container
from conformance.delegating.bench import Case
from multinet.model.objects import Obj

PLUGINS = Path("/usr/lib/cni")
DEFAULT_ROUTE = ({"dst": "0.0.0.0/0"}, {"dst": "::/0"})


def network(name: str, *subnets: str, routes: tuple[Obj, ...] = ()) -> Obj:
    """A link between pod and node, with addresses of these subnets."""
    ranges = [[{"subnet": subnet}] for subnet in subnets]
    ipam = {"type": "host-local", "ranges": ranges, "routes": list(routes)}
    return {"cniVersion": "1.0.0", "name": name, "type": "ptp", "ipam": ipam}


def make_real(case: Case) -> None:
    """A node whose default network is case."""
    if not case.target.isolated or not (PLUGINS / "ptp").exists():
        case.evidence.not_applicable(f"it needs network namespaces of its own, and {PLUGINS}/ptp")
    default = network("default-net", "10.88.0.0/24", "fd00:88::/64", routes=DEFAULT_ROUTE)
    case.on_node(path=(*case.node.path, PLUGINS), default=default)


def default_routes(inside: Container) -> dict[str, set[tuple[str, str]]]:
    """Interface and gateway of the default routes, by family."""
    return {
        family: {
            (one["dev"], one.get("gateway", "")) for one in inside.routes(family) if one["dst"] == "default"
        }
        for family in ("-4", "-6")
    }


@requirement("NPWG-5.3.2-a", "NPWG-5.3.3-a", "NPWG-5.3.4-a")
@pytest.mark.parametrize("networks", ["net-a", "net-a,net-b"])
def test_the_status_is_what_the_kernel_has(case: Case, networks: str) -> None:
    make_real(case)
    case.nad("net-a", network("net-a", "10.89.0.0/24"))
    case.nad("net-b", network("net-b", "10.90.0.0/24", "fd00:90::/64"))
    pod = case.pod(networks)
    case.attach(pod)
    inside = Container.of(pod.container)
    status = case.status(pod) or []
    links = inside.links()
    case.evidence.saw({"status": status, "links": sorted(links)})
    assert {str(one.get("interface")) for one in status} == set(links) - {"lo"}
    for one in status:
        name = str(one.get("interface"))
        assert one.get("mac") == links[name]["address"]
        known = {str(ip_interface(address).ip) for address in inside.addresses(name)}
        assert {str(ip_interface(address).ip) for address in one.get("ips") or []} == known
    assert case.delete(pod).ok
    assert set(inside.links()) <= {"lo"}, "interfaces are left after DEL"


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
    case: Case, gateways: list[str], expected: dict[str, set[tuple[str, str]]]
) -> None:
    make_real(case)
    case.nad("net-a", network("net-a", "10.89.0.0/24", "fd00:89::/64"))
    pod = case.pod([{"name": "net-a", "default-route": gateways}])
    case.attach(pod)
    found = default_routes(Container.of(pod.container))
    case.evidence.saw({family: sorted(routes) for family, routes in found.items()})
    for family, routes in expected.items():
        assert found[family] == routes, f"default routes of the pod: {found}"
