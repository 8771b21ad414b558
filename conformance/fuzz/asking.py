"""The steps that are requests to the Kubernetes API, as kubectl makes them; the same for every engine."""

from __future__ import annotations

import contextlib

from conformance.fuzz import manifests, steps
from conformance.fuzz.steps import Step
from multinet.kube.client import Client
from multinet.kube.errors import KubeError, NotFoundError
from multinet.kube.resources import NADS, PODS
from multinet.model.objects import (
    ANNOTATION_SELECTION,
    ANNOTATION_STATUS,
    Obj,
    annotations_of,
    name_of,
    namespace_of,
)

KINDS: tuple[type[Step], ...] = (
    steps.ApplyNad,
    steps.DeleteNad,
    steps.CreatePod,
    steps.EditSelection,
    steps.DamageStatus,
    steps.DeletePod,
)


async def ask(client: Client, step: Step) -> None:
    """Carry out a step of one of :data:`KINDS`; raises ``KubeError`` when it is refused."""
    match step:
        case steps.ApplyNad():
            await apply(client, manifests.nad(step))
        case steps.DeleteNad():
            namespace, _, name = step.key.partition("/")
            await client.delete(NADS, name, namespace)
        case steps.CreatePod():
            await client.create(PODS, manifests.pod(step))
        case steps.EditSelection():
            text = steps.selection_text(step.picks, step.key.partition("/")[0])
            await annotate(client, step.key, {ANNOTATION_SELECTION: text or None})
        case steps.DamageStatus():
            await annotate(client, step.key, {ANNOTATION_STATUS: "[]"})
        case steps.DeletePod():
            namespace, _, name = step.key.partition("/")
            with contextlib.suppress(KubeError):
                await client.delete(PODS, name, namespace, grace_seconds=step.grace)
        case other:
            raise ValueError(f"{other} is no request to the Kubernetes API")


async def apply(client: Client, wanted: Obj) -> None:
    """Create a NAD or change it, as `kubectl apply` does."""
    name, namespace = name_of(wanted), namespace_of(wanted)
    try:
        known = await client.get(NADS, name, namespace)
    except NotFoundError:
        await client.create(NADS, wanted)
        return
    # Annotations that the file no longer has go.
    ours = [key for key in annotations_of(known) if "opencontrail.org/c" in key or key.endswith("/network")]
    annotations = {**dict.fromkeys(ours), **wanted["metadata"].get("annotations", {})}
    patch = {"metadata": {"annotations": annotations}, "spec": wanted["spec"]}
    await client.patch(NADS, name, patch, namespace)


async def annotate(client: Client, key: str, annotations: Obj) -> None:
    """Set a pod's annotations, those of None taken away."""
    namespace, _, name = key.partition("/")
    await client.patch(PODS, name, {"metadata": {"annotations": annotations}}, namespace)
