"""The nftables rules of services, as text. Pure: values in, scripts out.

One table. Two maps lead from (protocol, cluster address, port) and from (protocol, node port) to the chain of
a service's port, which picks an endpoint. A chain's name is a digest of what it says, so the kernel's list of
names is enough to know what is there: an agent that starts again finds its rules instead of making them anew,
and clients stay where session affinity put them.

Addresses are changed back on the way out only where the answer would not come this way again: for clients
that are no pods, for endpoints that are no pods, for node ports, and for a pod that meets itself (hairpin).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multinet.model.networks import DEFAULT_SERVICE_CIDR
from multinet.model.services import Endpoint, Service, ServicePort

TABLE = "multinet-services"
#: Packets to a service; of those to a node's port, the ones whose sender must stay (externalTrafficPolicy
#: Local), and the others, whose sender must become this node: the endpoint's node may know another way back.
_MARK, _KEEP, _HIDE = "0x4000", "0x8000", "0x2000"
_CLUSTER, _NODE, _LOCAL, _HAIRPIN, _PODS = "cluster_ips", "node_ports", "local_ports", "hairpin", "pods"
_CONTAINERS = (_CLUSTER, _NODE, _LOCAL, _HAIRPIN, _PODS)
_AFFINITY_MAX = 65536
#: Characters of one transaction, and elements of one line.
_PART, _AT_ONCE = 12_000, 50

Ready = Mapping[tuple[str, str], Sequence[Endpoint]]


@dataclass(slots=True)
class Rules:
    """What is or shall be in the table: bodies of chains and sets by name, values by (container, key)."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[tuple[str, str], str] = field(default_factory=dict)

    def update(self, other: Rules) -> None:
        """Take in others as well."""
        self.chains.update(other.chains)
        self.sets.update(other.sets)
        self.elements.update(other.elements)


def base(node_ip: str, underlay: str) -> str:
    """The part that every node has, with or without services."""
    text = f"""
  map {_CLUSTER} {{ type inet_proto . ipv4_addr . inet_service : verdict; }}
  map {_NODE} {{ type inet_proto . inet_service : verdict; }}
  set {_LOCAL} {{ type inet_proto . inet_service; }}
  set {_HAIRPIN} {{ type ipv4_addr . ipv4_addr; }}
  set {_PODS} {{ type ipv4_addr; flags interval; }}
  chain ports {{
    meta l4proto . th dport @{_LOCAL} ip saddr != @{_PODS} meta mark set meta mark or {_KEEP}
    meta mark and {_KEEP} != {_KEEP} meta mark set meta mark or {_HIDE}
    meta l4proto . th dport vmap @{_NODE}
  }}
  chain services {{
    meta mark set meta mark or {_MARK}
    meta l4proto . ip daddr . th dport vmap @{_CLUSTER}
    ip daddr {node_ip} jump ports
    meta mark set meta mark and 0xffffbfff
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{underlay}" jump services
    iifname "tap*" jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark and {_MARK} != {_MARK} return
    ip saddr . ip daddr @{_HAIRPIN} snat ip to {node_ip}
    meta mark and {_KEEP} == {_KEEP} return
    meta mark and {_HIDE} == {_HIDE} snat ip to {node_ip}
    ip saddr != @{_PODS} snat ip to {node_ip}
    ip daddr != @{_PODS} snat ip to {node_ip}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ip daddr {DEFAULT_SERVICE_CIDR} reject
  }}
  chain refuse {{
    type filter hook output priority filter; policy accept;
    ip daddr {DEFAULT_SERVICE_CIDR} reject
  }}
"""
    return text + f"  chain {marker(text)} {{ }}\n"


def marker(text: str) -> str:
    """The name of an empty chain that tells one base from another."""
    return f"base-{_digest(text)}"


def rules_of(service: Service, ready: Ready, node: str) -> Rules:
    """The rules of one service on a node; a port with no endpoint has none and is refused further on."""
    made = Rules()
    if not service.address:
        return made
    for port in service.ports:
        listed = sorted(ready.get((port.name, port.protocol), ()), key=lambda each: (each.address, each.port))
        if not listed:
            continue
        here = [each for each in listed if each.node == node]
        protocol = port.protocol.lower()
        everywhere = _chain(made, service, port, listed)
        near = _chain(made, service, port, here) if here else "drop"
        key = f"{protocol} . {service.address} . {port.port}"
        made.elements[_CLUSTER, key] = near if service.local_internal else everywhere
        if service.external and port.node_port:
            made.elements[_NODE, f"{protocol} . {port.node_port}"] = (
                near if service.local_external else everywhere
            )
            if service.local_external:
                made.elements[_LOCAL, f"{protocol} . {port.node_port}"] = ""
        for endpoint in listed:
            made.elements[_HAIRPIN, f"{endpoint.address} . {endpoint.address}"] = ""
    _drop_unused(made)
    return made


def pods(blocks: Iterable[str]) -> Rules:
    """The blocks that pods of the default network and of isolated namespaces have their addresses from."""
    return Rules(elements={(_PODS, block): "" for block in blocks})


def _chain(made: Rules, service: Service, port: ServicePort, listed: Sequence[Endpoint]) -> str:
    """Have the chain of a port in ``made``; returns the verdict that leads there."""
    seed = f"{service.key} {port.name} {port.protocol}"
    protocol = port.protocol.lower()
    if service.affinity_s:
        body = _with_affinity(made, seed, protocol, service.affinity_s, listed)
    elif len(listed) == 1:
        body = (_dnat(protocol, listed[0]),)
    else:
        choices = ", ".join(f"{n} : {each.address} . {each.port}" for n, each in enumerate(listed))
        body = (f"meta l4proto {protocol} dnat ip to numgen random mod {len(listed)} map {{ {choices} }}",)
    name = f"s-{_digest(seed, *body)}"
    made.chains[name] = body
    return f"goto {name}"


def _with_affinity(
    made: Rules, seed: str, protocol: str, seconds: int, listed: Sequence[Endpoint]
) -> tuple[str, ...]:
    """A set of clients per endpoint: who is in one goes there again, and is in it for that long anew."""
    known, choices = [], []
    for number, endpoint in enumerate(listed):
        mark = _digest(seed, str(seconds), f"{endpoint.address}:{endpoint.port}")
        made.sets[f"a-{mark}"] = (
            f"type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; size {_AFFINITY_MAX};"
        )
        made.chains[f"e-{mark}"] = (f"update @a-{mark} {{ ip saddr }}", _dnat(protocol, endpoint))
        known.append(f"ip saddr @a-{mark} goto e-{mark}")
        choices.append(f"{number} : goto e-{mark}")
    return (*known, f"numgen random mod {len(listed)} vmap {{ {', '.join(choices)} }}")


def _dnat(protocol: str, endpoint: Endpoint) -> str:
    return f"meta l4proto {protocol} dnat ip to {endpoint.address}:{endpoint.port}"


def _drop_unused(made: Rules) -> None:
    """Leave out chains that nothing leads to: those of nearby endpoints where no policy asks for them."""
    used = {value.removeprefix("goto ") for value in made.elements.values()}
    for name in [name for name in made.chains if name.startswith("s-") and name not in used]:
        del made.chains[name]
    led_to = " ".join(rule for name, body in made.chains.items() if name.startswith("s-") for rule in body)
    for name in [name for name in made.chains if name.startswith("e-") and name not in led_to]:
        del made.chains[name]
        made.sets.pop(f"a-{name.removeprefix('e-')}", None)


def script(before: Rules, after: Rules) -> str:
    """The script that turns one into the other; empty when they are equal."""
    return "".join(_groups(before, after))


def transactions(before: Rules, after: Rules) -> Iterator[str]:
    """That script in parts that the kernel takes, each of which leaves the table whole.

    Where nft may not enlarge its socket's buffer (in a user namespace) a transaction must be small. What is
    new comes first and what is gone goes last, and a key of a map changes its value within one part.
    """
    part = ""
    for group in _groups(before, after):
        if part and len(part) + len(group) > _PART:
            yield part
            part = ""
        part += group
    if part:
        yield part


def rebuilt(base_text: str, wanted: Rules) -> Iterator[str]:
    """The transactions that make the whole table anew."""
    yield f"add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{{base_text}}}\n"
    yield from transactions(Rules(), wanted)


def _groups(before: Rules, after: Rules) -> Iterator[str]:
    """Lines, or a few of them that belong into one transaction."""
    new_chains = [name for name in after.chains if name not in before.chains]
    for name in after.sets:
        if name not in before.sets:
            yield f"add set inet {TABLE} {name} {{ {after.sets[name]} }}\n"
    # Chains of endpoints first: those of services lead to them.
    for name in sorted(new_chains):
        rules = "".join(f"add rule inet {TABLE} {name} {rule}\n" for rule in after.chains[name])
        yield f"add chain inet {TABLE} {name}\n{rules}"
    changed = sorted(
        key
        for key in before.elements.keys() | after.elements.keys()
        if before.elements.get(key) != after.elements.get(key)
    )
    for container in _CONTAINERS:
        keys = [key for key in changed if key[0] == container]
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            yield _elements("delete", container, some, before) + _elements("add", container, some, after)
    doomed = sorted((name for name in before.chains if name not in after.chains), reverse=True)
    for name in doomed:
        yield f"flush chain inet {TABLE} {name}\n"
    for name in doomed:
        yield f"delete chain inet {TABLE} {name}\n"
    for name in before.sets:
        if name not in after.sets:
            yield f"delete set inet {TABLE} {name}\n"


def _elements(verb: str, container: str, keys: Iterable[tuple[str, str]], held: Rules) -> str:
    listed = ", ".join(
        f"{key[1]} : {value}" if value else key[1]
        for key in keys
        if (value := held.elements.get(key)) is not None
    )
    return f"{verb} element inet {TABLE} {container} {{ {listed} }}\n" if listed else ""


def read(listing: Mapping[str, Any], wanted_base: str) -> Rules | None:
    """What is in the table, from nft's JSON; None where it is another agent's work (or half gone)."""
    found, chains = Rules(), set()
    for item in listing.get("nftables") or ():
        if "chain" in item:
            chains.add(str(item["chain"]["name"]))
        for kind in ("set", "map"):
            if kind in item:
                _read_set(found, item[kind])
    if wanted_base not in chains:
        return None
    # What they say is in their names.
    found.chains = {name: () for name in chains if name.startswith(("s-", "e-"))}
    return found


def _read_set(found: Rules, item: Mapping[str, Any]) -> None:
    name = str(item["name"])
    if name not in _CONTAINERS:
        found.sets[name] = ""
        return
    for element in item.get("elem") or ():
        key, value = element if isinstance(element, list) else (element, None)
        found.elements[name, _key(key)] = _verdict(value)


def _key(key: Any) -> str:
    if isinstance(key, dict) and "concat" in key:
        return " . ".join(str(part) for part in key["concat"])
    if isinstance(key, dict) and "prefix" in key:
        return f"{key['prefix']['addr']}/{key['prefix']['len']}"
    return str(key)


def _verdict(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return f"goto {value['goto']['target']}" if "goto" in value else next(iter(value))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
