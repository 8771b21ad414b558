"""The network-status annotation as the controller sees to it: the node agent writes it, this mends it.

What is true is in ``VirtualMachine.status.interfaces``, which the agent read from the kernel. A damaged or
removed annotation is written again from there. One that is not there *yet* is left to the agent for a
moment, since it writes both.

In a dialect where the controller writes the annotation it does so once, with the interfaces' objects, and
again only over what the node agent writes: damage done by others stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from multinet.controller.machines import pod_uid_of
from multinet.controller.view import BY_POD, View
from multinet.errors import InputError
from multinet.kube.errors import KubeError, NotFoundError
from multinet.kube.resources import PODS
from multinet.model import status
from multinet.model.attachments import Interface, PodRef, VirtualMachine
from multinet.model.dialect import Dialect
from multinet.model.objects import ANNOTATION_STATUS, Obj, annotations_of, split_key, uid_of
from multinet.model.status import NetworkStatus

AGENT_GRACE_S = 2.0

_log = logging.getLogger(__name__)
_Facts = tuple[str, str, frozenset[str], str, bool]


class Statuses:
    """Reconciles the annotation of one pod at a time; ``later`` looks at a key again after a delay."""

    def __init__(self, view: View, dialect: Dialect, later: Callable[[str, float], None]) -> None:
        self._view = view
        self._dialect = dialect
        self._later = later
        self._graced: set[str] = set()

    async def reconcile(self, key: str) -> None:
        """One pass over the pod ``namespace/name``."""
        pod = self._view.pods.store.get(key)
        if pod is None:
            self._graced.discard(key)
            return
        machine = self._machine(key, uid_of(pod))
        if machine is None or not machine.attached:
            return
        expected = [NetworkStatus.of(seen) for seen in machine.attached]
        text = annotations_of(pod).get(ANNOTATION_STATUS)
        if not self._dialect.repairs_damage:
            if text is not None and _says(text, expected) and self._dialect.controller_writes_status:
                await self.publish(machine.pod, self._interfaces(key, uid_of(pod)))
            return
        if text is None and key not in self._graced:
            self._graced.add(key)
            self._later(key, AGENT_GRACE_S)
            return
        if text is not None and _says(text, expected):
            # From now on a missing annotation was removed by somebody.
            self._graced.add(key)
            return
        _log.warning(
            "%s: network-status was %s, writing it again", key, "removed" if text is None else "damaged"
        )
        routes = {item.index: item.default_route or () for item in self._interfaces(key, uid_of(pod))}
        entries = (NetworkStatus.of(seen, gateway=routes.get(seen.index, ())) for seen in machine.attached)
        await self._write(key, uid_of(pod), status.encode(entries))

    async def publish(self, pod: PodRef, interfaces: Iterable[Interface]) -> None:
        """Write the annotation from the interfaces' objects, in the dialect's form; failure is silent."""
        if self._dialect.status_form == "contrail":
            text = status.encode_contrail(interfaces)
        else:
            text = status.encode(NetworkStatus.planned(item) for item in interfaces)
        try:
            await self._write(pod.key, pod.uid, text)
        except KubeError as error:
            _log.warning("%s: network-status was not written: %s", pod.key, error)

    async def _write(self, key: str, uid: str, text: str) -> None:
        namespace, name = split_key(key)
        patch = {"metadata": {"uid": uid, "annotations": {ANNOTATION_STATUS: text}}}
        try:
            await self._view.client.patch(PODS, name, patch, namespace)
        except NotFoundError:
            return

    def _interfaces(self, key: str, uid: str) -> list[Interface]:
        found = [Interface.from_object(vmi) for vmi in self._view.interfaces.by_index(BY_POD, key)]
        return sorted((item for item in found if item.pod.uid == uid), key=lambda item: item.index)

    def _machine(self, key: str, uid: str) -> VirtualMachine | None:
        found = (vm for vm in self._view.machines.by_index(BY_POD, key) if pod_uid_of(vm) == uid)
        return next(map(VirtualMachine.from_object, found), None)


def changed(old: Obj | None, new: Obj | None) -> bool:
    """Whether a pod's change is worth a look: the annotation is not what it was."""
    if new is None:
        return True
    before = annotations_of(old).get(ANNOTATION_STATUS) if old is not None else None
    return annotations_of(new).get(ANNOTATION_STATUS) != before


def _says(text: str, expected: Iterable[NetworkStatus]) -> bool:
    try:
        found = status.decode(text)
    except InputError:
        return False
    return [_facts(entry) for entry in found] == [_facts(entry) for entry in expected]


def _facts(entry: NetworkStatus) -> _Facts:
    # A prefix length, gateways and DNS are additions the writer may make.
    ips = frozenset(address.partition("/")[0] for address in entry.ips)
    return (entry.name, entry.interface, ips, entry.mac, entry.default)
