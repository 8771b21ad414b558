"""The nftables rules of services, as text. Pure: values in, scripts out.

One table. Two maps lead from (protocol, cluster address, port) and from (protocol, node port) to the chain of
a service's port, which picks an endpoint. A chain's name is a digest of what it says, so the kernel's list of
names is enough to know what is there: an agent that starts again finds its rules instead of making them anew,
and clients stay where session affinity put them.

Addresses are changed back on the way out only where the answer would not come this way again: for clients
that are no pods, for endpoints that are no pods, for node ports, and for a pod that meets itself (hairpin).

A node with an IPv6 address has all of it a second time for that family, in maps and sets of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multinet.model.networks import DEFAULT_SERVICE_CIDR, DEFAULT_SERVICE_CIDR6
from multinet.model.services import Endpoint, Service, ServicePort

TABLE = "multinet-services"
#: Packets to a service; of those to a node's port, the ones whose sender must stay (externalTrafficPolicy
#: Local), and the others, whose sender must become this node: the endpoint's node may know another way back.
_MARK, _KEEP, _HIDE = "0x4000", "0x8000", "0x2000"
_CLUSTER, _NODE, _LOCAL, _HAIRPIN, _PODS = "cluster_ips", "node_ports", "local_ports", "hairpin", "pods"
_OF_FAMILY = (_CLUSTER, _NODE, _HAIRPIN, _PODS)
_CONTAINERS = (*_OF_FAMILY, _LOCAL, *(f"{name}6" for name in _OF_FAMILY))
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


@dataclass(frozen=True, slots=True)
class _Family:
    """An address family in nft's words; ``suffix`` ends the names of what is its alone."""

    name: str
    protocol: str
    suffix: str
    block: str

    @property
    def address(self) -> str:
        """The type of its addresses."""
        return f"{self.protocol}_addr"


_V4 = _Family("ip", "ipv4", "", DEFAULT_SERVICE_CIDR)
_V6 = _Family("ip6", "ipv6", "6", DEFAULT_SERVICE_CIDR6)


def _family(address: str) -> _Family:
    return _V6 if ":" in address else _V4


def base(node_ip: str, underlay: str, node_ip6: str = "") -> str:
    """The part that every node has, with or without services."""
    own = [(_family(each), each) for each in (node_ip, node_ip6) if each]
    families = [family for family, _ in own]
    containers = [line for family in families for line in _containers(family)]
    containers.append(f"set {_LOCAL} {{ type inet_proto . inet_service; }}")
    refusals = [f"{family.name} daddr {family.block} reject" for family in families]
    chains = {f"ports{family.suffix}": _to_node_ports(family) for family in families}
    chains["services"] = [
        f"meta mark set meta mark or {_MARK}",
        *(line for family, address in own for line in _to_services(family, address)),
        "meta mark set meta mark and 0xffffbfff",
    ]
    chains["prerouting"] = [
        "type nat hook prerouting priority dstnat; policy accept;",
        f'iifname "{underlay}" jump services',
        'iifname "tap*" jump services',
    ]
    chains["output"] = ["type nat hook output priority -100; policy accept;", "jump services"]
    chains["postrouting"] = [
        "type nat hook postrouting priority srcnat; policy accept;",
        f"meta mark and {_MARK} != {_MARK} return",
        *(_hairpin(family, address) for family, address in own),
        f"meta mark and {_KEEP} == {_KEEP} return",
        *(line for family, address in own for line in _hidden(family, address)),
    ]
    chains["forward"] = ["type filter hook forward priority filter; policy accept;", *refusals]
    # IPv6 has no setting for it (send_redirects): nobody shall be told that a service is his neighbour.
    redirects = ["icmpv6 type nd-redirect drop"] if node_ip6 else []
    chains["refuse"] = ["type filter hook output priority filter; policy accept;", *redirects, *refusals]
    text = "".join(f"\n  {line}" for line in containers)
    for name, lines in chains.items():
        text += f"\n  chain {name} {{" + "".join(f"\n    {line}" for line in lines) + "\n  }"
    return f"{text}\n  chain {marker(text)} {{ }}\n"


def _containers(family: _Family) -> list[str]:
    suffix, address = family.suffix, family.address
    return [
        f"map {_CLUSTER}{suffix} {{ type inet_proto . {address} . inet_service : verdict; }}",
        f"map {_NODE}{suffix} {{ type inet_proto . inet_service : verdict; }}",
        f"set {_HAIRPIN}{suffix} {{ type {address} . {address}; }}",
        f"set {_PODS}{suffix} {{ type {address}; flags interval; }}",
    ]


def _to_services(family: _Family, address: str) -> list[str]:
    return [
        f"meta l4proto . {family.name} daddr . th dport vmap @{_CLUSTER}{family.suffix}",
        f"{family.name} daddr {address} jump ports{family.suffix}",
    ]


def _to_node_ports(family: _Family) -> list[str]:
    no_pod = f"{family.name} saddr != @{_PODS}{family.suffix}"
    return [
        f"meta l4proto . th dport @{_LOCAL} {no_pod} meta mark set meta mark or {_KEEP}",
        f"meta mark and {_KEEP} != {_KEEP} meta mark set meta mark or {_HIDE}",
        f"meta l4proto . th dport vmap @{_NODE}{family.suffix}",
    ]


def _hairpin(family: _Family, address: str) -> str:
    name = family.name
    return f"{name} saddr . {name} daddr @{_HAIRPIN}{family.suffix} snat {name} to {address}"


def _hidden(family: _Family, address: str) -> list[str]:
    """Who must come from this node: senders whom the endpoint's answer would not reach this way."""
    name, pods, to = family.name, f"@{_PODS}{family.suffix}", f"snat {family.name} to {address}"
    return [
        f"meta nfproto {family.protocol} meta mark and {_HIDE} == {_HIDE} {to}",
        f"{name} saddr != {pods} {to}",
        f"{name} daddr != {pods} {to}",
    ]


def marker(text: str) -> str:
    """The name of an empty chain that tells one base from another."""
    return f"base-{_digest(text)}"


def rules_of(service: Service, ready: Ready, node: str) -> Rules:
    """The rules of one service on a node; a port with no endpoint has none and is refused further on."""
    made = Rules()
    for address in service.addresses:
        for port in service.ports:
            alike = [
                each
                for each in ready.get((port.name, port.protocol), ())
                if (":" in each.address) == (":" in address)
            ]
            listed = sorted(alike, key=lambda each: (each.address, each.port))
            if listed:
                _port(made, service, address, port, (listed, [each for each in listed if each.node == node]))
    _drop_unused(made)
    return made


def _port(
    made: Rules,
    service: Service,
    address: str,
    port: ServicePort,
    endpoints: tuple[Sequence[Endpoint], Sequence[Endpoint]],
) -> None:
    """One port of a service at one of its addresses, with all endpoints and those on this node."""
    (listed, here), suffix, protocol = endpoints, _family(address).suffix, port.protocol.lower()
    everywhere = _chain(made, service, port, listed)
    near = _chain(made, service, port, here) if here else "drop"
    key = f"{protocol} . {address} . {port.port}"
    made.elements[_CLUSTER + suffix, key] = near if service.local_internal else everywhere
    if service.external and port.node_port:
        key = f"{protocol} . {port.node_port}"
        made.elements[_NODE + suffix, key] = near if service.local_external else everywhere
        if service.local_external:
            made.elements[_LOCAL, key] = ""
    for endpoint in listed:
        made.elements[_HAIRPIN + suffix, f"{endpoint.address} . {endpoint.address}"] = ""


def pods(blocks: Iterable[str]) -> Rules:
    """The blocks that pods of the default network and of isolated namespaces have their addresses from."""
    return Rules(elements={(_PODS + _family(block).suffix, block): "" for block in blocks})


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
        to = f"dnat {_family(listed[0].address).name} to numgen random mod {len(listed)} map {{ {choices} }}"
        body = (f"meta l4proto {protocol} {to}",)
    name = f"s-{_digest(seed, *body)}"
    made.chains[name] = body
    return f"goto {name}"


def _with_affinity(
    made: Rules, seed: str, protocol: str, seconds: int, listed: Sequence[Endpoint]
) -> tuple[str, ...]:
    """A set of clients per endpoint: who is in one goes there again, and is in it for that long anew."""
    known, choices, family = [], [], _family(listed[0].address)
    for number, endpoint in enumerate(listed):
        mark = _digest(seed, str(seconds), f"{endpoint.address}:{endpoint.port}")
        made.sets[f"a-{mark}"] = (
            f"type {family.address}; flags dynamic,timeout; timeout {seconds}s; size {_AFFINITY_MAX};"
        )
        made.chains[f"e-{mark}"] = (f"update @a-{mark} {{ {family.name} saddr }}", _dnat(protocol, endpoint))
        known.append(f"{family.name} saddr @a-{mark} goto e-{mark}")
        choices.append(f"{number} : goto e-{mark}")
    return (*known, f"numgen random mod {len(listed)} vmap {{ {', '.join(choices)} }}")


def _dnat(protocol: str, endpoint: Endpoint) -> str:
    family, address = _family(endpoint.address), endpoint.address
    place = f"[{address}]" if family is _V6 else address
    return f"meta l4proto {protocol} dnat {family.name} to {place}:{endpoint.port}"


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
