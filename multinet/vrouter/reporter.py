"""Writes what ADD made to the Kubernetes API: VirtualMachine.status and the pod's network-status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from multinet.kube.client import Client
from multinet.kube.resources import PODS, VIRTUAL_MACHINES
from multinet.model.attachments import AttachedInterface, VirtualMachine
from multinet.model.objects import ANNOTATION_STATUS, Obj


class KubeReporter:
    """A :class:`~multinet.vrouter.agent.Reporter` through the API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(
        self, machine: VirtualMachine, seen: Sequence[AttachedInterface], network_status: str
    ) -> None:
        """Both at the same time; the pod's UID in the patch keeps it from a new pod of the same name."""
        status: Obj = {"status": {"interfaces": [item.to_spec() for item in seen]}}
        pod = machine.pod
        metadata: Obj = {"uid": pod.uid, "annotations": {ANNOTATION_STATUS: network_status}}
        await asyncio.gather(
            self._client.patch(
                VIRTUAL_MACHINES, machine.name, status, machine.namespace, subresource="status"
            ),
            self._client.patch(PODS, pod.name, {"metadata": metadata}, pod.namespace),
        )
