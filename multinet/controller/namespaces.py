"""Namespaces: an isolated one (``opencontrail.org/isolation: "true"``) has a pod network of its own.

That network shares the address pool of the cluster's default network, as Contrail's networks share its
IPAM (D7): an address belongs to one pod of the cluster, whichever of the networks it is in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from multinet.controller.settings import Settings
from multinet.controller.view import View
from multinet.controller.vnis import Vnis
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import VIRTUAL_NETWORKS
from multinet.model import naming
from multinet.model.default_network import is_isolated
from multinet.model.networks import DEFAULT_POD_CIDR, L3, ORIGIN_NAMESPACE, Subnet, VirtualNetwork
from multinet.model.objects import name_of

_log = logging.getLogger(__name__)


class Namespaces:
    """Reconciles one namespace at a time; ``recheck`` is called with network objects to look at again."""

    def __init__(self, view: View, *, settings: Settings, vnis: Vnis, recheck: Callable[[str], None]) -> None:
        self._view = view
        self._settings = settings
        self._vnis = vnis
        self._recheck = recheck

    async def reconcile(self, name: str) -> None:
        """One pass over a namespace."""
        fq_name = self._settings.network_of_namespace(name)
        if fq_name == self._settings.default_network:
            return
        found = self._view.network_named(fq_name)
        namespace = self._view.namespaces.store.get(name)
        if found is not None:
            self._recheck(name_of(found))
        if namespace is None or not is_isolated(namespace) or found is not None:
            return
        network = VirtualNetwork(
            fq_name=fq_name,
            subnets=tuple(map(Subnet.of, filter(None, (DEFAULT_POD_CIDR, self._settings.pod_cidr6)))),
            vni=self._vnis.reserve(naming.object_name(fq_name), fq_name),
            forwarding_mode=L3,
            origin=ORIGIN_NAMESPACE,
            pool=naming.object_name(self._settings.default_network),
        )
        try:
            await self._view.client.create(VIRTUAL_NETWORKS, network.to_object())
        except AlreadyExistsError:
            return
        _log.info("%s is isolated: network %s", name, naming.fq_text(fq_name))

    def is_wanted(self, network: VirtualNetwork) -> bool:
        """Whether the isolated namespace that a network was made for is still there and isolated."""
        name = network.fq_name[2].removeprefix(f"{self._settings.cluster}-").removesuffix("-pod-network")
        namespace = self._view.namespaces.store.get(name)
        is_its_own = self._settings.network_of_namespace(name) == network.fq_name
        return namespace is not None and is_its_own and is_isolated(namespace)
