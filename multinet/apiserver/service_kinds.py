"""The kinds that make services, and the service of the API server itself."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from multinet.apiserver import endpoints, merge_rules, services
from multinet.apiserver import service_columns as cells
from multinet.apiserver.names import dns_1035_label
from multinet.apiserver.resources import ResourceType, Strategy, Version
from multinet.apiserver.service_addresses import Allocator
from multinet.model.networks import DEFAULT_SERVICE_CIDR
from multinet.model.objects import Obj

#: The address of ``default/kubernetes``: the first of the services' block.
API_ADDRESS = str(ip_network(DEFAULT_SERVICE_CIDR)[1])
_API_SERVICE = "kubernetes"


def service_kinds(block6: str = "") -> tuple[ResourceType, ...]:
    """Services and their endpoints; ``block6`` is the block of services' IPv6 addresses, empty for none."""
    blocks = tuple(map(ip_network, filter(None, (DEFAULT_SERVICE_CIDR, block6))))
    return (
        ResourceType(
            "",
            "services",
            "Service",
            True,
            (Version("v1", cells.SERVICE, services.SERVICE),),
            short_names=("svc",),
            categories=("all",),
            subresources=("status",),
            field_labels=("spec.clusterIP", "spec.type"),
            strategy=Strategy(
                services.prepare_create,
                services.prepare_update,
                services.validate,
                services.validate_update,
                name_errors=dns_1035_label,
                allocate=Allocator(blocks).allocate,
            ),
            merge=merge_rules.SERVICE,
        ),
        ResourceType(
            "",
            "endpoints",
            "Endpoints",
            True,
            (Version("v1", cells.ENDPOINTS, endpoints.ENDPOINTS),),
            short_names=("ep",),
            strategy=Strategy(
                endpoints.prepare_endpoints, endpoints.prepare_endpoints, endpoints.validate_endpoints
            ),
        ),
        ResourceType(
            "discovery.k8s.io",
            "endpointslices",
            "EndpointSlice",
            True,
            (Version("v1", cells.ENDPOINT_SLICE, endpoints.ENDPOINT_SLICE),),
            strategy=Strategy(
                endpoints.prepare_slice,
                endpoints.prepare_slice,
                endpoints.validate_slice,
                endpoints.slice_change,
            ),
            generation=True,
        ),
    )


def api_service(url: str) -> list[tuple[str, str, Obj]]:
    """The service ``default/kubernetes`` of an API server at ``url``: (group, plural, object) in order.

    It has endpoints where the server is at an address that others can reach.
    """
    address = urlsplit(url)
    labels = {"component": "apiserver", "provider": "kubernetes"}
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": address.port or 443}
    spec = {"clusterIP": API_ADDRESS, "ports": [port]}
    made = [("", "services", {"metadata": {"name": _API_SERVICE, "labels": labels}, "spec": spec})]
    try:
        host = ip_address(address.hostname or "")
    except ValueError:
        return made
    if endpoints.unsuitable(str(host)):
        return made
    ports = [{"name": "https", "port": address.port or 443, "protocol": "TCP"}]
    subsets = [{"addresses": [{"ip": str(host)}], "ports": ports}]
    mirrored = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    made.append(
        ("", "endpoints", {"metadata": {"name": _API_SERVICE, "labels": mirrored}, "subsets": subsets})
    )
    endpoint_slice: Obj = {
        "metadata": {"name": _API_SERVICE, "labels": {"kubernetes.io/service-name": _API_SERVICE}},
        "addressType": f"IPv{host.version}",
        "endpoints": [{"addresses": [str(host)], "conditions": {"ready": True}}],
        "ports": ports,
    }
    made.append(("discovery.k8s.io", "endpointslices", endpoint_slice))
    return made
