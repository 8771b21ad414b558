"""From a pod's plan to what the data path makes, and from there to what ADD and the status say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multinet.cni import spec
from multinet.cni.results import Result, ResultAddress, ResultInterface, ResultRoute
from multinet.cni.spec import CNIError
from multinet.model import status
from multinet.model.attachments import AttachedInterface, Interface
from multinet.model.objects import Obj
from multinet.model.selected import PROTOCOLS, RATES, Bandwidth, PortMapping
from multinet.vrouter.datapath import Attachment, Wanted
from multinet.vrouter.view import ClusterView, PodPlan, network_of

#: What a runtime may ask for in runtimeConfig (CNI conventions); the rest is refused.
CAPABILITIES = frozenset({"bandwidth", "portMappings"})


def wanted(plan: PodPlan, view: ClusterView, config: Mapping[str, Any]) -> list[Wanted]:
    """The interfaces to make; ``CNIError`` carries the controller's reason where the pod is refused.

    What the runtime asks for in ``config`` (runtimeConfig) is the default interface's (NPWG 7.5).
    """
    limits, mappings = runtime_bandwidth(config), runtime_port_mappings(config)
    machine = plan.machine
    if not plan.interfaces:
        reason = machine.resolved.reason if machine.resolved else "Unknown"
        message = machine.resolved.message if machine.resolved else ""
        raise CNIError(
            spec.ATTACHMENT_REFUSED,
            f"pod {machine.pod.key} can't be attached to its networks: {reason}",
            f"{message}; see the events of the pod (kubectl describe pod)".lstrip("; "),
        )
    found = []
    for interface in plan.interfaces:
        network = view.network(interface.network)
        if network is None:
            raise CNIError(
                spec.TRY_AGAIN_LATER,
                f"network {interface.network} of interface {interface.interface} is gone",
                "recreate the network, or delete the pod",
            )
        found.append(
            Wanted(
                index=interface.index,
                name=interface.interface,
                mac=interface.mac,
                addresses=tuple(item.cidr for item in interface.addresses),
                gateways=default_gateways(interface),
                mtu=interface.mtu,
                network=network_of(network),
                bandwidth=limits if interface.is_default else interface.bandwidth,
                port_mappings=mappings if interface.is_default else interface.port_mappings,
                guarded=interface.port_security,
                device=interface.device,
            )
        )
    return found


def runtime_bandwidth(config: Mapping[str, Any]) -> Bandwidth | None:
    """The limits in ``runtimeConfig.bandwidth`` (CNI conventions): bits per second, and bits."""
    runtime = config.get("runtimeConfig")
    asked = runtime.get("bandwidth") if isinstance(runtime, dict) else None
    if asked is None:
        return None
    values = {key: asked.get(key) or 0 for key in RATES} if isinstance(asked, dict) else {"bandwidth": asked}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
            raise CNIError(
                spec.INVALID_CONFIG,
                f"runtimeConfig.bandwidth can't be met: {key} is {value!r}"[:200],
                f"give {', '.join(RATES)} as whole numbers",
            )
    limits = Bandwidth.from_spec(values)
    for way in ("ingress", "egress"):
        if values[f"{way}Burst"] and not values[f"{way}Rate"]:
            raise CNIError(
                spec.INVALID_CONFIG,
                f"runtimeConfig.bandwidth has {way}Burst without {way}Rate",
                "a burst needs the rate it belongs to",
            )
    return limits


def runtime_port_mappings(config: Mapping[str, Any]) -> tuple[PortMapping, ...]:
    """The mappings in ``runtimeConfig.portMappings`` (CNI conventions); one of host port 0 asks for none."""
    runtime = config.get("runtimeConfig")
    listed = runtime.get("portMappings") if isinstance(runtime, dict) else None
    found = []
    for item in listed or ():
        try:
            mapping = PortMapping.from_spec(item)
            if not (0 <= mapping.host_port <= 65535 and 1 <= mapping.container_port <= 65535):
                raise ValueError("ports are numbers up to 65535")
            if mapping.protocol not in PROTOCOLS:
                raise ValueError(f"the protocol is none of {', '.join(PROTOCOLS)}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CNIError(
                spec.INVALID_CONFIG,
                f"an element of runtimeConfig.portMappings can't be read: {item!r}"[:200],
                f"{error}; give hostPort, containerPort and protocol",
            ) from error
        if mapping.host_port:
            found.append(mapping)
    return tuple(found)


def default_gateways(interface: Interface) -> tuple[str, ...]:
    """The gateways of the pod's default routes through an interface."""
    if interface.default_route is not None:
        return interface.default_route
    if not interface.is_default:
        return ()
    return tuple(item.gateway for item in interface.addresses if item.gateway)


def result(attachment: Attachment, interfaces: Sequence[Interface]) -> Result:
    """The CNI result of ADD: all interfaces of the pod, ``eth0`` first."""
    ips = []
    for position, interface in enumerate(interfaces):
        ips += [ResultAddress(item.cidr, position, item.gateway) for item in interface.addresses]
    routes = [
        ResultRoute("::/0" if ":" in gateway else "0.0.0.0/0", gateway)
        for interface in interfaces
        for gateway in default_gateways(interface)
    ]
    return Result(
        interfaces=tuple(
            ResultInterface(port.wanted.name, port.wanted.mac, attachment.netns, port.mtu)
            for port in attachment.interfaces
        ),
        ips=tuple(ips),
        routes=tuple(routes),
        nameservers=tuple(item.dns for item in interfaces[0].addresses if item.dns),
    )


def attached(attachment: Attachment, interfaces: Sequence[Interface]) -> list[AttachedInterface]:
    """What VirtualMachine.status.interfaces says."""
    return [
        AttachedInterface(
            index=interface.index,
            interface=port.wanted.name,
            mac=port.wanted.mac,
            ips=tuple(item.address for item in interface.addresses),
            mtu=port.mtu,
            network=interface.status_name,
            default=interface.is_default,
        )
        for port, interface in zip(attachment.interfaces, interfaces, strict=True)
    ]


def network_status(seen: Sequence[AttachedInterface], interfaces: Sequence[Interface]) -> str:
    """The value of the pod's network-status annotation."""
    return status.encode(
        status.NetworkStatus.of(entry, gateway=default_gateways(interface))
        for entry, interface in zip(seen, interfaces, strict=True)
    )


def contradictions(previous: Obj, attachment: Attachment) -> list[str]:
    """Where a prevResult (CHECK) differs from what was attached; others' interfaces are left alone."""
    ours = {port.wanted.name: port.wanted for port in attachment.interfaces}
    listed = previous["interfaces"]
    theirs = {str(item.get("name")): item for item in listed if item.get("sandbox")}
    found = [f"{name}: prevResult does not have it" for name in ours if name not in theirs]
    for name, port in ours.items():
        mac = theirs.get(name, {}).get("mac")
        if mac and str(mac).lower() != port.mac:
            found.append(f"{name}: prevResult has MAC {mac}, it was made with {port.mac}")
    for item in previous["ips"]:
        if "interface" in item:
            name = str(listed[item["interface"]].get("name"))
            if name in ours and item["address"] not in ours[name].addresses:
                found.append(f"{name}: prevResult has address {item['address']}, which it never had")
    return found
