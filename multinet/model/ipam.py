"""Address choice: the highest free address of a subnet, without looking at each taken one again.

The pool is a view of what the API says is taken (every InstanceIP of a network), never a second truth:
an address is owned by the pod whose InstanceIP could be created. The pool only proposes.

A cursor walks down from the top and remembers the freed addresses above it in a heap, so choosing costs
O(log freed), whatever the size of the block; a /12 pool holds no list of a million addresses.
"""

from __future__ import annotations

import heapq
import ipaddress
from collections.abc import Iterable

from multinet.model.networks import IPAddress, Subnet


class Pool:
    """The addresses of one subnet, taken from the top downwards. Not thread-safe."""

    def __init__(self, subnet: Subnet, taken: Iterable[IPAddress] = ()) -> None:
        self.subnet = subnet
        self._bottom = int(subnet.cidr.network_address)
        self._cursor = int(subnet.cidr.broadcast_address)
        self._reserved = frozenset(int(address) for address in subnet.reserved)
        self._taken: set[int] = set()
        self._freed: list[int] = []
        for address in taken:
            self.take(address)

    def __len__(self) -> int:
        """How many addresses are taken."""
        return len(self._taken)

    @property
    def free(self) -> int:
        """How many addresses a pod could still get."""
        return self.subnet.usable - len(self._taken)

    def take(self, address: IPAddress) -> bool:
        """Mark ``address`` as taken; False when it was taken, reserved or is none of this subnet's."""
        number = int(address)
        if address not in self.subnet.cidr or number in self._reserved or number in self._taken:
            return False
        self._taken.add(number)
        return True

    def choose(self) -> IPAddress | None:
        """Take and return the highest free address, or None when the pool is exhausted."""
        while self._freed:
            number = -heapq.heappop(self._freed)
            if number not in self._taken:
                self._taken.add(number)
                return self._address(number)
        while self._cursor >= self._bottom:
            number = self._cursor
            self._cursor -= 1
            if number not in self._taken and number not in self._reserved:
                self._taken.add(number)
                return self._address(number)
        return None

    def give_back(self, address: IPAddress) -> None:
        """Mark ``address`` as free; nothing happens when it was not taken."""
        number = int(address)
        if number not in self._taken:
            return
        self._taken.discard(number)
        # Below the cursor the walk will come past it; above it only the heap remembers.
        if number > self._cursor:
            heapq.heappush(self._freed, -number)

    def is_taken(self, address: IPAddress) -> bool:
        """Whether a pod has ``address``."""
        return int(address) in self._taken

    def _address(self, number: int) -> IPAddress:
        if self.subnet.cidr.version == 4:
            return ipaddress.IPv4Address(number)
        return ipaddress.IPv6Address(number)
