"""Cluster addresses and node ports: each is one service's alone, given on request or chosen here.

What is taken is read from the stored services, so there is nothing that could go out of step. The choice is
made from the service's own name, then the next free one: a service that is made again gets what it had, in
every run of a lab. As in Kubernetes, the lower part of both ranges is left to those who ask for a number.
Source: kubernetes ``pkg/registry/core/service/{ipallocator,portallocator}``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from multinet.apiserver import service_families
from multinet.apiserver.errors import FieldError, invalid_value
from multinet.apiserver.service_families import is_headless
from multinet.apiserver.services import PROTOCOLS, ports_of
from multinet.apiserver.store import Store
from multinet.model.networks import IPNetwork
from multinet.model.objects import Obj

NODE_PORTS = range(30000, 32768)
_ASKED_ADDRESSES = 256
_ASKED_PORTS = 86
_SERVICES = "services"
_EXTERNAL = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class Allocator:
    """Gives addresses of ``blocks``: one block for each family that the cluster's services have."""

    blocks: tuple[IPNetwork, ...]

    def allocate(self, store: Store, service: Obj, old: Obj | None) -> Iterator[FieldError]:
        """Give a service its families, addresses and node ports, in place; yield what can't be given."""
        spec = service["spec"]
        if spec["type"] == "ExternalName":
            return
        before = old["spec"] if old is not None and old["spec"].get("type") != "ExternalName" else None
        found = list(service_families.complete(spec, before, [f"IPv{each.version}" for each in self.blocks]))
        if found:
            yield from found
            return
        own = (service["metadata"]["namespace"], service["metadata"]["name"])
        others = [entry.view()["spec"] for entry in store.entries(_SERVICES) if entry.key != own]
        yield from self._addresses(spec, others, "/".join(own))
        if spec["type"] in _EXTERNAL and spec.get("allocateLoadBalancerNodePorts", True):
            yield from _node_ports(spec, others, "/".join(own))

    def _addresses(self, spec: Obj, others: Sequence[Obj], seed: str) -> Iterator[FieldError]:
        if is_headless(spec):
            if spec["type"] != "ClusterIP":
                text = f"may not be set to 'None' for {spec['type']} services"
                yield invalid_value("spec.clusterIPs[0]", "None", text)
            return
        asked: list[str] = list(spec.get("clusterIPs") or [])
        taken = {each for other in others for each in other.get("clusterIPs") or ()}
        blocks: Mapping[str, IPNetwork] = {f"IPv{each.version}": each for each in self.blocks}
        for index, family in enumerate(spec["ipFamilies"]):
            if index >= len(asked):
                asked.append(_free(blocks[family], taken, seed))
            elif wrong := _unusable(asked[index], blocks[family], taken):
                yield invalid_value("spec.clusterIPs", asked, wrong)
                return
        spec["clusterIP"], spec["clusterIPs"] = asked[0], asked


def _free(block: IPNetwork, taken: set[str], seed: str) -> str:
    count = block.num_addresses - _ASKED_ADDRESSES - 1
    offered = (str(block[_ASKED_ADDRESSES + at]) for at in _from(seed, count))
    return next((each for each in offered if each not in taken), "")


def _unusable(asked: str, block: IPNetwork, taken: set[str]) -> str:
    address = ip_address(asked)
    if address not in block or address in (block.network_address, block.broadcast_address):
        return (
            f"failed to allocate IP {asked}: the provided IP ({asked}) is not in the valid range. "
            f"The range of valid IPs is {block}"
        )
    used = any(address == ip_address(each) for each in taken if each != "None")
    return f"failed to allocate IP {asked}: provided IP is already allocated" if used else ""


def _node_ports(spec: Obj, others: Sequence[Obj], seed: str) -> Iterator[FieldError]:
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
