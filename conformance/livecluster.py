"""A cluster that outlives the run: what the suite needs there, asked before anything is made; nothing stays.

All that the suite makes is in namespaces of its own, which carry the run's label. A run that ends, also by
Ctrl-C, deletes them and waits for that; one that was killed can't, so the next run on the cluster begins with
what earlier ones left. Two runs at a time on one cluster would so take each other's namespaces.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from multinet.errors import EnvironmentLackError
from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import NotFoundError, UnauthorizedError
from multinet.kube.resources import Resource
from multinet.model.objects import Obj, name_of
from multinet.waits import expired, pause

RUN = "conformance.multinet.opencontrail.org/run"
_REVIEW = "SelfSubjectAccessReview"
_REVIEWS = Resource("authorization.k8s.io", "v1", f"{_REVIEW.lower()}s", _REVIEW, False)
_NEEDED = {
    ("", "namespaces", ""): "create list delete",
    ("", "nodes", ""): "list",
    ("", "pods", ""): "create get list watch patch delete",
    ("", "pods", "exec"): "create",
    ("", "events", ""): "list watch",
    ("", "services", ""): "create",
    ("discovery.k8s.io", "endpointslices", ""): "list",
    (resources.NADS.group, resources.NADS.plural, ""): "create get list delete",
    (resources.CRDS.group, resources.CRDS.plural, ""): "get",
}
_GONE_LIMIT_S = 120.0
_ASK_S = 0.5


def check(kubeconfig: Path) -> None:
    """Return if the suite can work there; ``EnvironmentLackError``, or the API's own error, says why not."""
    asyncio.run(_check(kubeconfig))


def clear(kubeconfig: Path, run: str, *, others: bool) -> None:
    """Delete what the run made, and wait until it has gone; or, without a wait, what ``others`` have left."""
    asyncio.run(_clear(kubeconfig, run, others=others))


async def _check(kubeconfig: Path) -> None:
    async with Client(load_kubeconfig(kubeconfig)) as client:
        where = client.access.server
        try:
            await client.get_path("/version")
            missing = [words async for words in _not_allowed(client)]
        except UnauthorizedError as error:
            hint = f"it may be expired: kubectl --kubeconfig {kubeconfig} get namespaces"
            raise EnvironmentLackError(
                "the cluster does not take the kubeconfig's credentials", where=where, why=error.what,
                next_step=hint,
            ) from error  # fmt: skip
        if missing:
            hint = "give the user a ClusterRole with these rules"
            why = f"it may not {'; not '.join(missing)}"
            raise EnvironmentLackError(
                "the suite needs more than this user may do", where=where, why=why, next_step=hint
            )
        try:
            await client.list(resources.NADS)
        except NotFoundError as error:
            hint = "install the implementation, or the CRD network-attachment-definitions.k8s.cni.cncf.io"
            raise EnvironmentLackError(
                "the cluster knows no NetworkAttachmentDefinitions", where=where, next_step=hint
            ) from error
        nodes = (await client.list(resources.NODES)).items
    if not any(_is_ready(node) for node in nodes):
        why = "; ".join(_why_not(nodes)) or "there is none"
        hint = "pods need a default network before they can have others"
        raise EnvironmentLackError("no node takes pods", where=where, why=why, next_step=hint)


async def _not_allowed(client: Client) -> AsyncIterator[str]:
    for (group, plural, sub), verbs in _NEEDED.items():
        for verb in verbs.split():
            attributes = {"group": group, "resource": plural, "subresource": sub, "verb": verb}
            review: Obj = {"apiVersion": "authorization.k8s.io/v1", "kind": _REVIEW}
            answer = await client.create(_REVIEWS, review | {"spec": {"resourceAttributes": attributes}})
            if not (answer.get("status") or {}).get("allowed"):
                yield f"{verb} {plural}{f'/{sub}' if sub else ''}"


def _is_ready(node: Obj) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in _conditions(node))


def _why_not(nodes: list[Obj]) -> Iterator[str]:
    for node in nodes:
        told = [str(one.get("message")) for one in _conditions(node) if one.get("type") == "Ready"]
        if (node.get("spec") or {}).get("unschedulable"):
            told = ["it is cordoned"]
        yield f"{name_of(node)}: {told[0] if told else 'it is not Ready'}"


def _conditions(node: Obj) -> list[Obj]:
    return list((node.get("status") or {}).get("conditions") or ())


async def _clear(kubeconfig: Path, run: str, *, others: bool) -> None:
    selector = f"{RUN},{RUN}!={run}" if others else f"{RUN}={run}"
    deadline = time.monotonic() + _GONE_LIMIT_S
    async with Client(load_kubeconfig(kubeconfig)) as client:
        while found := (await client.list(resources.NAMESPACES, label_selector=selector)).items:
            for namespace in found:
                if "deletionTimestamp" not in namespace["metadata"]:
                    await _delete(client, name_of(namespace))
            if others:
                return
            if time.monotonic() > deadline:
                names = ", ".join(map(name_of, found))
                hint = f"kubectl delete namespace -l {selector}"
                raise expired(f"the end of namespaces {names}", _GONE_LIMIT_S, hint=hint)
            await pause("the end of the run's namespaces", _ASK_S)


async def _delete(client: Client, name: str) -> None:
    try:
        await client.delete(resources.NAMESPACES, name)
    except NotFoundError:
        return
