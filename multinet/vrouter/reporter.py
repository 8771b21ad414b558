"""Writes what was made to the Kubernetes API.

For a pod that is VirtualMachine.status and the annotation network-status, for a workload without Kubernetes
the condition of its VirtualMachineInterface, and an Event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from multinet.kube.client import Client, MergePatch
from multinet.kube.errors import ConflictError, NotFoundError
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import PODS, VIRTUAL_MACHINE_INTERFACES, VIRTUAL_MACHINES
from multinet.model import conditions
from multinet.model.attachments import AttachedInterface, VirtualMachine
from multinet.model.conditions import Condition
from multinet.model.objects import ANNOTATION_STATUS, Obj, name_of, namespace_of, section, uid_of
from multinet.vrouter.datapath import Attachment

_log = logging.getLogger(__name__)


class KubeReporter:
    """A :class:`~multinet.vrouter.agent.Reporter` through the API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def report(
        self, machine: VirtualMachine, seen: Sequence[AttachedInterface], network_status: str | None
    ) -> None:
        """Both at the same time; the pod's UID in the patch keeps it from a new pod of the same name."""
        status: Obj = {"status": {"interfaces": [item.to_spec() for item in seen]}}
        pod = machine.pod
        patches = [MergePatch(VIRTUAL_MACHINES, machine.name, machine.namespace, status, "status")]
        if network_status is not None:
            metadata: Obj = {"uid": pod.uid, "annotations": {ANNOTATION_STATUS: network_status}}
            patches.append(MergePatch(PODS, pod.name, pod.namespace, {"metadata": metadata}))
        if not await self._client.patch_together(patches):
            # All have ended when the first refusal is raised: who then undoes the ADD meets no later write.
            for answer in await asyncio.gather(*map(self._write, patches), return_exceptions=True):
                if answer is not None:
                    raise answer

    async def _write(self, each: MergePatch) -> None:
        await self._client.patch(
            each.resource, each.name, each.patch, each.namespace, subresource=each.subresource
        )


class KubeTeller:
    """A :class:`~multinet.vrouter.workloads.Teller` through the API."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder

    async def tell(self, vmi: Obj, condition: Condition) -> None:
        """The Event first: it is also of use where the status can't be written."""
        resource = VIRTUAL_MACHINE_INTERFACES
        typed = {"apiVersion": resource.api_version, "kind": resource.kind, **vmi}
        expected = condition.is_true or condition.reason == "Detached"
        self._recorder.record(typed, "Normal" if expected else "Warning", condition.reason, condition.message)
        existing = section(vmi, "status").get("conditions") or ()
        patch: Obj = {
            "metadata": {"uid": uid_of(vmi)},
            "status": {"conditions": conditions.merged(existing, condition)},
        }
        try:
            await self._client.patch(resource, name_of(vmi), patch, namespace_of(vmi), subresource="status")
        except (NotFoundError, ConflictError):
            return  # it is gone, or another one has its name: nobody asks any more


class KubeRepairTeller:
    """A :class:`~multinet.vrouter.repairs.Teller`: Events of the pod or the node, and the log."""

    def __init__(self, recorder: EventRecorder, node: str) -> None:
        self._recorder = recorder
        self._node = node

    def pod_repaired(self, attachment: Attachment, message: str) -> None:
        """An Event of the pod."""
        namespace, _, name = attachment.pod.partition("/")
        metadata: Obj = {"name": name, "namespace": namespace, "uid": attachment.pod_uid}
        self._tell({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}, attachment.pod, message)

    def node_repaired(self, message: str) -> None:
        """An Event of the node."""
        self._tell({"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._node}}, "", message)

    def node_warning(self, reason: str, message: str) -> None:
        """Another Event of the node."""
        node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._node}}
        self._recorder.record(node, "Warning", reason, message)

    def _tell(self, obj: Obj, pod: str, message: str) -> None:
        _log.warning("%s: %s", f"pod {pod}" if pod else "node", message)
        self._recorder.record(obj, "Warning", "NetworkRepaired", message)
