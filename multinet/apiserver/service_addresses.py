"""Cluster addresses and node ports: each is one service's alone, given on request or chosen here.

What is taken is read from the stored services, so there is nothing that could go out of step. The choice is
made from the service's own name, then the next free one: a service that is made again gets what it had, in
every run of a lab. As in Kubernetes, the lower part of both ranges is left to those who ask for a number.
Source: kubernetes ``pkg/registry/core/service/{ipallocator,portallocator}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from multinet.apiserver.errors import FieldError, invalid_value
from multinet.apiserver.services import PROTOCOLS, is_headless, ports_of
from multinet.apiserver.store import Store
from multinet.model.networks import DEFAULT_SERVICE_CIDR
from multinet.model.objects import Obj

SERVICE_CIDR = IPv4Network(DEFAULT_SERVICE_CIDR)
NODE_PORTS = range(30000, 32768)
_ASKED_ADDRESSES = 256
_ASKED_PORTS = 86
_SERVICES = "services"
_EXTERNAL = ("NodePort", "LoadBalancer")


def allocate(store: Store, service: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Give a service its address and node ports, in place; yield what can't be given."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    own = (service["metadata"]["namespace"], service["metadata"]["name"])
    others = [entry.view()["spec"] for entry in store.entries(_SERVICES) if entry.key != own]
    yield from _address(spec, others, "/".join(own))
    if spec["type"] in _EXTERNAL and spec.get("allocateLoadBalancerNodePorts", True):
        yield from _node_ports(spec, others, "/".join(own))


def _address(spec: Obj, others: list[Obj], seed: str) -> Iterator[FieldError]:
    listed = spec.get("clusterIPs") or []
    asked = spec.get("clusterIP") or (listed[0] if listed else "")
    if listed and listed[0] != asked:
        yield invalid_value("spec.clusterIPs", listed, "first value must match `clusterIP`")
        return
    if len(listed) > 1:
        yield invalid_value("spec.clusterIPs", listed, "may only hold up to 1 values")
        return
    spec["clusterIP"], spec["clusterIPs"] = asked, [asked]
    if is_headless(spec):
        if spec["type"] != "ClusterIP":
            text = f"may not be set to 'None' for {spec['type']} services"
            yield invalid_value("spec.clusterIPs[0]", "None", text)
        return
    taken = {other.get("clusterIP") for other in others}
    if asked:
        if wrong := _unusable(asked, taken):
            yield invalid_value("spec.clusterIPs", [asked], wrong)
        return
    first = _ASKED_ADDRESSES
    count = SERVICE_CIDR.num_addresses - first - 1
    chosen = next(
        (one for at in _from(seed, count) if (one := str(SERVICE_CIDR[first + at])) not in taken), ""
    )
    spec["clusterIP"], spec["clusterIPs"] = chosen, [chosen]


def _unusable(asked: str, taken: set[str | None]) -> str:
    try:
        address = IPv4Address(asked)
    except ValueError:
        return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    ends = (SERVICE_CIDR.network_address, SERVICE_CIDR.broadcast_address)
    if address not in SERVICE_CIDR or address in ends:
        return (
            f"failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. "
            f"The range of valid IPs is {SERVICE_CIDR}"
        )
    return f"failed to allocate IP {asked}: provided IP is already allocated" if asked in taken else ""


def _node_ports(spec: Obj, others: list[Obj], seed: str) -> Iterator[FieldError]:
    taken = {(port["nodePort"], port["protocol"]) for other in others for port in ports_of(other)
             if "nodePort" in port}  # fmt: skip
    for index, port in enumerate(ports_of(spec)):
        number, path = port.get("nodePort"), f"spec.ports[{index}].nodePort"
        if not number:
            continue
        if number not in NODE_PORTS:
            text = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            yield invalid_value(path, number, text)
        elif (number, port["protocol"]) in taken:
            yield invalid_value(path, number, "provided port is already allocated")
        taken.add((number, port["protocol"]))
    for port in ports_of(spec):
        if port.get("nodePort"):
            continue
        free = (NODE_PORTS[_ASKED_PORTS + at] for at in _from(f"{seed}:{port['port']}", _ports_to_choose()))
        # Free for all protocols, so that a port of the same number may follow for another one.
        chosen = next((one for one in free if not taken & {(one, each) for each in PROTOCOLS}), None)
        if chosen is None:
            yield invalid_value("spec.ports", 0, "no node port is free")
            return
        port["nodePort"] = chosen
        taken.add((chosen, port["protocol"]))


def _ports_to_choose() -> int:
    return len(NODE_PORTS) - _ASKED_PORTS


def _from(seed: str, count: int) -> Iterator[int]:
    """All numbers below ``count``, from one that the seed gives."""
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % count
    yield from (number % count for number in range(start, start + count))
