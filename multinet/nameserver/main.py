"""The name server as a process: ``python -m multinet.nameserver.main --kubeconfig FILE --listen ADDRESS``.

It is behind the service kube-system/kube-dns, whose endpoint it announces itself: no pod runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from ipaddress import ip_address
from pathlib import Path

from multinet.kube import notify, process
from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import AlreadyExistsError, KubeError
from multinet.kube.informer import Informer
from multinet.kube.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES, Resource
from multinet.model.networks import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS
from multinet.model.objects import Obj, name_of, namespace_of
from multinet.model.services import LABEL_MANAGED_BY, LABEL_SERVICE
from multinet.nameserver.answers import Answerer
from multinet.nameserver.server import PORT, serving
from multinet.nameserver.zone import Zone
from multinet.waits import pause

_NAMESPACE, _SERVICE = "kube-system", "kube-dns"
_log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run until SIGTERM; 0 at a clean end, 1 when it could not start."""
    process.log_to_stderr()
    parser = argparse.ArgumentParser(prog="multinet-nameserver", description="name server of the cluster")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--listen", required=True, help="the address to answer at, which pods can reach")
    parser.add_argument("--service-address", default=DNS_SERVICE_ADDRESS, help="default: %(default)s")
    parser.add_argument("--domain", default=CLUSTER_DOMAIN, help="default: %(default)s")
    options = parser.parse_args(argv)
    return process.run(run(options))


async def run(options: argparse.Namespace) -> None:
    """Serve in this event loop until SIGTERM."""
    stop = process.stop_signals()
    zone = Zone(options.domain)
    async with (
        Client(load_kubeconfig(options.kubeconfig)) as client,
        serving(Answerer(zone), options.listen),
        asyncio.TaskGroup() as group,
    ):
        running = [
            group.create_task(_follow(client, zone), name="names"),
            group.create_task(_announce(client, options), name="announcement"),
        ]
        await stop.wait()
        for task in running:
            task.cancel()


async def _follow(client: Client, zone: Zone) -> None:
    async with asyncio.TaskGroup() as group:
        followed = ((SERVICES, zone.service_changed), (ENDPOINT_SLICES, zone.slice_changed))
        informers = []
        for resource, changed in followed:
            informer = Informer(client, resource)
            informer.on_change(changed)
            informers.append(informer)
            group.create_task(informer.run(), name=f"{resource.plural} informer")
        for informer in informers:
            await informer.synced.wait()
        notify.ready()
        _log.info("the name server serves")


async def _announce(client: Client, options: argparse.Namespace) -> None:
    """Make the service and its endpoint; what somebody else made under these names stays."""
    backoff, failures = Backoff(first_s=0.1, cap_s=5.0), 0
    while True:
        try:
            for resource, made in announcement(options.service_address, options.listen):
                await _put(client, resource, made)
            return
        except KubeError as error:
            failures += 1
            _log.warning("service %s/%s is not there yet: %s", _NAMESPACE, _SERVICE, error)
            await pause("service of the name server", backoff.delay(failures))


async def _put(client: Client, resource: Resource, made: Obj) -> None:
    try:
        await client.create(resource, made)
    except AlreadyExistsError:
        if resource is ENDPOINT_SLICES:
            # An earlier process's, perhaps at another address.
            change = {"endpoints": made["endpoints"]}
            await client.patch(resource, name_of(made), change, namespace_of(made))


def announcement(service_address: str, address: str) -> list[tuple[Resource, Obj]]:
    """What makes pods find the server at ``address`` by the service's address, in order."""
    ports = [
        {"name": name, "port": PORT, "protocol": protocol}
        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _SERVICE, "namespace": _NAMESPACE, "labels": labels},
        "spec": {"clusterIP": service_address, "ports": ports},
    }
    endpoint_slice = {
        "apiVersion": ENDPOINT_SLICES.api_version,
        "kind": ENDPOINT_SLICES.kind,
        "metadata": {
            "name": _SERVICE,
            "namespace": _NAMESPACE,
            "labels": {LABEL_SERVICE: _SERVICE, LABEL_MANAGED_BY: "nameserver.multinet.opencontrail.org"},
        },
        "addressType": f"IPv{ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [(NAMESPACES, namespace), (SERVICES, service), (ENDPOINT_SLICES, endpoint_slice)]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
