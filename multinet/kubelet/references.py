"""ConfigMaps and Secrets that the pods of a node refer to, kept current by one watch each.

Only what is referred to is watched, as a real kubelet does it: a watch of one name, shared by all pods of the
node that name it, ended with the last of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import CONFIGMAPS, SECRETS
from multinet.model.objects import Obj, join_key, namespace_of, section
from multinet.waits import wait_for

Kind = Literal["configMap", "secret"]
_RESOURCES = {"configMap": CONFIGMAPS, "secret": SECRETS}
_SYNC_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """One object that a pod needs."""

    kind: Kind
    namespace: str
    name: str

    @property
    def shown(self) -> str:
        """As messages call it: ``configmap "settings"``."""
        return f'{self.kind.lower()} "{self.name}"'


@dataclass(slots=True)
class _Watched:
    informer: Informer
    task: asyncio.Task[None]
    users: dict[str, Callable[[], None]] = field(default_factory=dict)


class References:
    """The objects by reference. ``follow`` and ``unfollow`` are called with a pod's uid."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._watched: dict[Reference, _Watched] = {}

    def follow(self, uid: str, wanted: Iterable[Reference], on_change: Callable[[], None]) -> None:
        """Keep the objects current until :meth:`unfollow`; ``on_change`` is called at each change."""
        for reference in wanted:
            watched = self._watched.get(reference)
            if watched is None:
                watched = self._watched[reference] = self._watch(reference)
            watched.users[uid] = on_change

    def unfollow(self, uid: str) -> None:
        """The pod needs nothing any more."""
        for reference, watched in list(self._watched.items()):
            watched.users.pop(uid, None)
            if not watched.users:
                watched.task.cancel()
                del self._watched[reference]

    async def synced(self, wanted: Iterable[Reference]) -> None:
        """Return when all of them were asked for; ``WaitExpiredError`` when the API doesn't answer."""
        for reference in wanted:
            watched = self._watched[reference]
            await wait_for(f"{reference.shown} from the API", watched.informer.synced.wait(), _SYNC_LIMIT_S)

    def get(self, reference: Reference) -> Obj | None:
        """The object as it is now, or None when there is none."""
        watched = self._watched.get(reference)
        key = join_key(reference.namespace, reference.name)
        return watched.informer.store.get(key) if watched is not None else None

    def close(self) -> None:
        """End all watches."""
        for watched in self._watched.values():
            watched.task.cancel()
        self._watched.clear()

    def _watch(self, reference: Reference) -> _Watched:
        informer = Informer(
            self._client,
            _RESOURCES[reference.kind],
            namespace=reference.namespace,
            field_selector=f"metadata.name={reference.name}",
        )
        task = asyncio.get_running_loop().create_task(informer.run(), name=f"watch {reference.shown}")
        watched = _Watched(informer, task)

        def changed(_old: Obj | None, _new: Obj | None) -> None:
            for callback in list(watched.users.values()):
                callback()

        informer.on_change(changed)
        return watched


def references_of(pod: Obj) -> tuple[Reference, ...]:
    """All ConfigMaps and Secrets that the pod's environment and volumes name."""
    namespace = namespace_of(pod)
    spec = section(pod, "spec")
    found = set(_of_volumes(spec.get("volumes") or (), namespace))
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            found.update(_of_environment(container, namespace))
    return tuple(sorted(found))


def _of_environment(container: Mapping[str, Any], namespace: str) -> Iterator[Reference]:
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        yield from _named(source.get("configMapKeyRef"), source.get("secretKeyRef"), namespace)
    for entry in container.get("envFrom") or ():
        yield from _named(entry.get("configMapRef"), entry.get("secretRef"), namespace)


def _of_volumes(volumes: Iterable[Mapping[str, Any]], namespace: str) -> Iterator[Reference]:
    for volume in volumes:
        secret = volume.get("secret")
        named = {"name": secret.get("secretName")} if secret else None
        yield from _named(volume.get("configMap"), named, namespace)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(source.get("configMap"), source.get("secret"), namespace)


def _named(
    config_map: Mapping[str, Any] | None, secret: Mapping[str, Any] | None, namespace: str
) -> Iterator[Reference]:
    if config_map and config_map.get("name"):
        yield Reference("configMap", namespace, str(config_map["name"]))
    if secret and secret.get("name"):
        yield Reference("secret", namespace, str(secret["name"]))
