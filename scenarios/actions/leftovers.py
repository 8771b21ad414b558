"""The step that looks for anything the pods that are gone have left behind."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from multinet.errors import LabError
from multinet.kube import resources
from multinet.model.objects import key_of, section
from multinet.waits import pause
from reports.verdicts import Verdict
from scenarios.cluster import PodRecord
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.threads import in_thread
from topology.backend import Lab
from topology.podnetwork import STATE_DIR
from traffic.endpoint import Endpoint, inspect_all

# The kernel tells nobody here when a link goes: looked at again after this, until the step's limit.
_AGAIN_S = 0.05
_SHOWN = 10
_ADDRESS = re.compile(r"[0-9a-fA-F:.]{2,}")


async def leftovers(context: Context, step: LoadedStep) -> Result:
    """Pass as soon as nothing is left; fail with the list at the limit."""
    body = step.step.leftovers
    assert body is not None
    gone = {record.uid: record for record in context.cluster.gone()}
    if not gone:
        return Result(Verdict.UNKNOWN, "no pod is gone, so there is nothing to look for")
    begun = time.monotonic()
    while True:
        found = list(await in_thread(_everywhere, context, gone))
        seconds = time.monotonic() - begun
        if not found or seconds > body.timeout:
            break
        await pause("the kernel to remove what is left", _AGAIN_S)
    name = f"nothing to be left of {len(gone)} pods"
    context.tell("wait", step, name=name, seconds=round(seconds, 4), limit=body.timeout)
    if not found:
        names = ", ".join(record.key for record in gone.values())
        return Result(facts=(f"nothing is left of {names}",))
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    count = "1 thing is" if len(found) == 1 else f"{len(found)} things are"
    return Result(Verdict.FAIL, f"{count} left over: {'; '.join(found[:_SHOWN])}{more}")


def _everywhere(context: Context, gone: Mapping[str, PodRecord]) -> list[str]:
    found = [*_in_api(context, gone), *_sandboxes(context, gone)]
    for node, endpoints in _node_links(context.lab).items():
        found += _on_node(context, node, endpoints, gone)
    return found


def _in_api(context: Context, gone: Mapping[str, PodRecord]) -> Iterator[str]:
    for resource in (resources.VIRTUAL_MACHINES, resources.VIRTUAL_MACHINE_INTERFACES):
        for obj in context.cluster.all(resource):
            pod = section(obj, "spec").get("pod") or {}
            if pod.get("uid") in gone:
                yield f"{resource.kind} {key_of(obj)} in the API"
    for obj in context.cluster.all(resources.INSTANCE_IPS):
        if section(obj, "spec").get("podUID") in gone:
            yield f"InstanceIP {key_of(obj)} in the API"


def _sandboxes(context: Context, gone: Mapping[str, PodRecord]) -> Iterator[str]:
    for sandbox in context.lab.sandboxes():
        if sandbox.uid in gone:
            yield f"sandbox of {sandbox.namespace}/{sandbox.pod} (process {sandbox.pid}) on {sandbox.node}"


def _on_node(
    context: Context, node: str, endpoints: list[Endpoint], gone: Mapping[str, PodRecord]
) -> Iterator[str]:
    """Links that weren't there before any pod, and routes, neighbours and FDB entries of pods gone."""
    living = {s.node for s in context.lab.sandboxes()}
    prefixes = tuple(uid.replace("-", "")[:8] for uid in gone)
    network = context.scenario.pod_network
    own = context.baseline[node] | (network.devices if network is not None else frozenset())
    for endpoint in endpoints:
        name = endpoint.interface
        if name not in own and (node not in living or any(p in name for p in prefixes)):
            yield f"link {name} ({endpoint.kind or 'device'}) on {node}"
    # An address can have a new owner by now; only those of nobody are left over.
    records = context.cluster.records.values()
    kept = {address for record in records if not record.gone for address in record.addresses}
    addresses = {address for record in gone.values() for address in record.addresses} - kept
    macs = {mac.lower() for record in gone.values() for mac in record.macs}
    for endpoint in endpoints:
        for destination, _ in endpoint.routes:
            if destination.partition("/")[0] in addresses:
                yield f"route to {destination} on {endpoint.interface} of {node}"
    for argv in (("bridge", "-j", "fdb", "show"), ("ip", "-j", "neigh", "show")):
        for entry in _listed(context.lab, node, argv):
            mac = str(entry.get("mac") or entry.get("lladdr") or "").lower()
            if mac in macs:
                device = entry.get("ifname") or entry.get("dev")
                yield f"{argv[2]} entry for {mac} on {device} of {node}"
    yield from _in_rules(context.lab, node, addresses)
    if network is not None:
        yield from _leases(context.lab, node, addresses)


def _in_rules(lab: Lab, node: str, addresses: set[str]) -> Iterator[str]:
    """Rules that still name an address; iptables' are seen by nft too, where that is what makes them."""
    done = lab.exec(node, ("nft", "list", "ruleset"), limit_s=5.0)
    if done.status != 0:
        return  # a machine without nft, or a kernel without: nobody can have made rules with it
    for line in done.stdout.splitlines():
        for address in addresses & set(_ADDRESS.findall(line)):
            yield f"rule for {address} on {node}: {' '.join(line.split())[:200]}"


def _leases(lab: Lab, node: str, addresses: set[str]) -> Iterator[str]:
    """Files of IPAM plugins that are named after an address, as host-local's are."""
    done = lab.exec(node, ("find", str(STATE_DIR), "-type", "f", "-printf", "%f %p\\n"), limit_s=5.0)
    for line in done.stdout.splitlines():
        name, _, path = line.partition(" ")
        if name in addresses:
            yield f"lease {path} on {node}"


def _listed(lab: Lab, node: str, argv: tuple[str, ...]) -> list[dict[str, Any]]:
    done = lab.exec(node, argv, limit_s=5.0)
    if done.status != 0:
        why = done.stderr.strip() or f"exit code {done.status}"
        raise LabError(f"can't look for left-overs with {' '.join(argv)}", where=node, why=why)
    found = json.loads(done.stdout or "[]")
    return [entry for entry in found if isinstance(entry, dict)]


def _node_links(lab: Lab) -> dict[str, list[Endpoint]]:
    found: dict[str, list[Endpoint]] = {}
    for node, endpoints in inspect_all({node: lab.node_netns(node) for node in lab.nodes}).items():
        # A node that can't be looked at is not a node without left-overs.
        if isinstance(endpoints, OSError):
            raise LabError("the node's links can't be read", where=node, why=str(endpoints)) from endpoints
        found[node] = endpoints
    return found


def links_of(lab: Lab) -> dict[str, set[str]]:
    """Names of the links of each node now, loopback left out."""
    return {
        node: {endpoint.interface for endpoint in endpoints} for node, endpoints in _node_links(lab).items()
    }
