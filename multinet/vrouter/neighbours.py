"""Who has which MAC in a bridged network, told to its bridge: it answers ARP and ND for remote members.

The VXLAN port has neighbour suppression on: a request for an address that the bridge has an entry for does
not leave the node. Where the MAC is behind the tunnel, the bridge answers; where it is here, its owner does.
Requests for addresses that nobody has are flooded in the whole network, as in the original.

Local members and remote ones are followed apart, because their changes come in any order: that an address has
moved here may be known before it is said to be gone there.
"""

from __future__ import annotations

from collections.abc import Iterable

from multinet.vrouter import addressing
from multinet.vrouter.datapath import Port, Remote
from multinet.vrouter.netlink import Request


class Neighbours:
    """The entries of one bridge. Each change returns the requests that carry it out.

    ``ipv6``: whether the bridge can have entries of that family.
    """

    def __init__(self, bridge: int, *, ipv6: bool) -> None:
        self._bridge = bridge
        self._ipv6 = ipv6
        self._here: dict[str, str] = {}
        self._there: dict[str, str] = {}

    @property
    def known(self) -> frozenset[str]:
        """All addresses that have an entry."""
        return frozenset(self._here) | frozenset(self._there)

    def all_entries(self) -> list[Request]:
        """Every entry there should be."""
        owners = {**self._there, **self._here}
        return [addressing.neighbour(self._bridge, address, mac) for address, mac in sorted(owners.items())]

    def appeared(self, owners: Iterable[tuple[str, str]]) -> list[Request]:
        """(address, MAC) pairs of this node."""
        requests = []
        for address, mac in owners:
            if not self._can_have(address):
                continue
            self._here[address] = mac
            requests.append(addressing.neighbour(self._bridge, address, mac))
        return requests

    def vanished(self, owners: Iterable[tuple[str, str]]) -> list[Request]:
        """(address, MAC) pairs that are not of this node any more; one may be known elsewhere already."""
        requests = []
        for address, mac in owners:
            if self._here.get(address) != mac:
                continue
            del self._here[address]
            elsewhere = self._there.get(address)
            if elsewhere is None:
                requests.append(addressing.delete_neighbour(self._bridge, address))
            else:
                requests.append(addressing.neighbour(self._bridge, address, elsewhere))
        return requests

    def changed(self, gone: Iterable[Remote], new: Iterable[Remote]) -> list[Request]:
        """Members of other nodes that are gone, and others that are new."""
        gone_addresses = {address for remote in gone for address in remote.addresses}
        new_owners = {
            address: remote.mac for remote in new for address in remote.addresses if self._can_have(address)
        }
        for address in gone_addresses:
            self._there.pop(address, None)
        self._there |= new_owners
        requests = [
            addressing.delete_neighbour(self._bridge, address)
            for address in sorted(gone_addresses - new_owners.keys() - self._here.keys())
        ]
        requests += [
            addressing.neighbour(self._bridge, address, mac)
            for address, mac in sorted(new_owners.items())
            if address not in self._here
        ]
        return requests

    def _can_have(self, address: str) -> bool:
        return self._ipv6 or ":" not in address


def owners(port: Port) -> list[tuple[str, str]]:
    """The (address, MAC) pairs of an interface."""
    return [(cidr.partition("/")[0], port.wanted.mac) for cidr in port.wanted.addresses]
