"""VNI choice: unique among all networks, and the same again for the same network name.

Derived from the fq name with linear probing, so that a network which is removed and made again tends to
get its old VNI, and a replay finds what it found before.
"""

from __future__ import annotations

import zlib

from multinet.controller.view import BY_VNI, View
from multinet.model.naming import FqName
from multinet.model.networks import VNI_LIMIT
from multinet.model.objects import name_of

_LOWEST = 4096
"""Below are the VNIs that people like to give by hand."""


class Vnis:
    """Hands out VNIs; what it gave and the caches don't show yet is remembered."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._given: dict[int, str] = {}

    def reserve(self, network: str, fq_name: FqName) -> int:
        """A VNI that no other network (object name) has."""
        span = VNI_LIMIT - _LOWEST + 1
        start = zlib.crc32("\0".join(fq_name).encode("utf-8", "surrogatepass")) % span
        for offset in range(span):
            vni = _LOWEST + (start + offset) % span
            if self._is_free(vni, network):
                self._given[vni] = network
                return vni
        raise AssertionError("more networks than VNIs")

    def _is_free(self, vni: int, network: str) -> bool:
        shown = self._view.networks.by_index(BY_VNI, str(vni))
        if self._given.get(vni) in {name_of(vn) for vn in shown}:
            del self._given[vni]
        given = self._given.get(vni, network)
        return given == network and all(name_of(vn) == network for vn in shown)
