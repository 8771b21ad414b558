"""Follows the objects that network policies are made of; pods and namespaces only once there is a policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.resources import MULTI_NETWORK_POLICIES, NAMESPACES, NETWORK_POLICIES, PODS, Resource
from multinet.model.objects import Obj
from multinet.vrouter.policing import Policing

_KEY = "policies"


async def follow(client: Client, policing: Policing) -> None:
    """Keep ``policing`` up to date, and the rules with it, until cancelled."""
    queue = KeyedQueue(lambda _: policing.update(), workers=1, name="policies")
    policing.on_change(lambda: queue.add(_KEY))
    async with asyncio.TaskGroup() as group:

        async def listed(*followed: tuple[Resource, Callable[[Obj | None, Obj | None], None]]) -> None:
            informers = [Informer(client, resource) for resource, _ in followed]
            for informer, (resource, changed) in zip(informers, followed, strict=True):
                informer.on_change(changed)
                group.create_task(informer.run(), name=f"{resource.plural} informer")
            for informer in informers:
                await informer.synced.wait()

        group.create_task(queue.run(), name="policies")
        kinds = (NETWORK_POLICIES, MULTI_NETWORK_POLICIES)
        await listed(*((kind, _of_kind(kind, policing.policy_changed)) for kind in kinds))
        policing.policies_listed()
        await policing.needed.wait()
        await listed((PODS, policing.pod_changed), (NAMESPACES, policing.namespace_changed))
        policing.peers_listed()


def _of_kind(
    resource: Resource, changed: Callable[[Obj | None, Obj | None], None]
) -> Callable[[Obj | None, Obj | None], None]:
    """Objects in lists don't say what kind they are of."""

    def typed(each: Obj | None) -> Obj | None:
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        return None if each is None else {**kind, **each}

    return lambda old, new: changed(typed(old), typed(new))
