"""Choice of addresses for interfaces made here, by the rule of pods: creating the InstanceIP is owning it.

The pool is built from what the API says at that moment; if somebody else is faster the API refuses the
create, and the next address is taken.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from multinet.configapi.errors import RefusedError, bad_request, conflict
from multinet.configapi.notes import Notes
from multinet.configapi.read_networks import subnet_uuid
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import INSTANCE_IPS
from multinet.model import naming
from multinet.model.attachments import pool_of
from multinet.model.ipam import Pool
from multinet.model.networks import IPAddress, Subnet, VirtualNetwork
from multinet.model.objects import ANNOTATION_POOL, API_VERSION, Obj, section


def pools(view: View, vn: Obj, subnet: str = "", family: str = "") -> list[Pool]:
    """The pools of a network, of one subnet (UUID) or family where asked; 400 where none is meant."""
    network, notes = VirtualNetwork.from_object(vn), Notes.of(vn)
    if not family and not subnet and any(block.family == "v4" for block in network.subnets):
        # As the original: who does not say v6 means v4.
        family = "v4"
    chosen = [block for block in network.subnets if not family or block.family == family]
    if subnet:
        chosen = [block for block in chosen if subnet_uuid(vn, notes, block) == subnet]
    if not chosen:
        what = f"{family} addresses" if family else "addresses"
        raise bad_request(
            f"virtual-network {naming.fq_text(network.fq_name)} has no subnet for {what}",
            why=f"subnet {subnet} is none of its subnets" if subnet else "no subnet is defined",
            next_step="add a subnet with network_ipam_refs",
        )
    taken = taken_of_pool(view, network.pool_name)
    return [Pool(block.completed(), taken) for block in chosen]


def taken_of(view: View, network: str) -> list[IPAddress]:
    """The addresses which InstanceIPs of a network (object name) hold."""
    return _addresses(
        iip
        for iip in view.objects(INSTANCE_IPS).values()
        if str(section(iip, "spec").get("network") or "") == network
    )


def taken_of_pool(view: View, pool: str) -> list[IPAddress]:
    """The addresses which InstanceIPs hold of a pool, named by a network's object name.

    Networks that share a pool (isolated namespaces and the default network) see each other's addresses.
    """
    return _addresses(iip for iip in view.objects(INSTANCE_IPS).values() if pool_of(iip) == pool)


def _addresses(iips: Iterable[Obj]) -> list[IPAddress]:
    found: list[IPAddress] = []
    for iip in iips:
        try:
            found.append(ipaddress.ip_address(str(section(iip, "spec").get("address", ""))))
        except ValueError:
            continue
    return found


def fixed(network: VirtualNetwork, text: str) -> IPAddress:
    """An address that somebody asked for, or 400 why a network can't have it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise bad_request(f"Invalid address {text!r}", why=str(error)) from error
    subnet = network.subnet_of(address)
    blocks = ", ".join(str(block.cidr) for block in network.subnets) or "no subnet"
    if subnet is None:
        raise bad_request(
            f"Requested IP address {text} is not in the network", why=f"the network has {blocks}"
        )
    if address in subnet.completed().reserved:
        raise bad_request(
            f"Requested IP address {text} is reserved",
            why=f"it is the network's own (gateway, DNS, network or broadcast address of {subnet.cidr})",
        )
    return address


def instance_ip(network: VirtualNetwork, address: IPAddress, metadata: Obj, interface: Obj | None) -> Obj:
    """The InstanceIP object, ready to create; ``metadata`` takes its labels and annotations.

    Its name is made of the pool, as the controller's are: else one address could have two owners.
    """
    text = str(address)
    spec: Obj = {"network": network.name, "address": text, "family": "v6" if address.version == 6 else "v4"}
    if interface is not None:
        spec["interface"] = interface
    made = {**metadata, "name": naming.instance_ip_name(network.pool_name, text)}
    if network.pool:
        made["annotations"] = {**metadata.get("annotations", {}), ANNOTATION_POOL: network.pool}
    return {"apiVersion": API_VERSION, "kind": "InstanceIP", "metadata": made, "spec": spec}


async def own(
    client: Client, network: VirtualNetwork, candidates: Iterable[Pool], metadata: Obj, interface: Obj | None
) -> Obj:
    """Create an InstanceIP for the highest free address of the first pool that has one; 409 if none has."""
    blocks: list[Subnet] = []
    for pool in candidates:
        blocks.append(pool.subnet)
        while (address := pool.choose()) is not None:
            try:
                return await client.create(INSTANCE_IPS, instance_ip(network, address, metadata, interface))
            except AlreadyExistsError:
                continue
    raise _exhausted(network, blocks)


async def own_fixed(
    client: Client, network: VirtualNetwork, text: str, metadata: Obj, interface: Obj | None
) -> Obj:
    """Create the InstanceIP of one given address; 409 if somebody has it."""
    address = fixed(network, text)
    try:
        return await client.create(INSTANCE_IPS, instance_ip(network, address, metadata, interface))
    except AlreadyExistsError as error:
        raise conflict(
            f"Ip address {text} already in use",
            where=f"virtual-network {naming.fq_text(network.fq_name)}",
            next_step="ask for another address, or for none",
        ) from error


def _exhausted(network: VirtualNetwork, blocks: list[Subnet]) -> RefusedError:
    return conflict(
        f"Virtual-Network {naming.fq_text(network.fq_name)} has exhausted its subnets",
        why=f"all addresses of {', '.join(str(block.cidr) for block in blocks)} are in use",
        next_step="delete instance-ips, or add a subnet",
    )
