"""The emulated cluster's scheduler: gives each waiting pod a node, by events and never by polling.

A node fits when the filters below let the pod in; among those the one with the fewest pods wins and the
name breaks ties, so a scenario places its pods the same way each time. Filters and their words follow
kube-scheduler (NodeUnschedulable, TaintToleration, NodeAffinity), so that an event reads as on a real
cluster. Resources are not counted: emulated nodes have no sizes.

A decision is made without waiting and remembered at once (``_assumed``), so several bindings can be
under way while the next pod already counts them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import uvloop

from multinet.errors import MultinetError
from multinet.kube import notify
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import ConflictError, NotFoundError
from multinet.kube.informer import Informer
from multinet.kube.queue import KeyedQueue
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import NODES, PODS
from multinet.model.objects import Obj, key_of, labels_of, name_of, namespace_of, section, split_key, uid_of
from multinet.model.placement import objection, taints_of

SCHEDULER_NAME = "default-scheduler"
_SYNC_LIMIT_S = 30.0
_BINDERS = 8

_log = logging.getLogger("multinet.scheduler")


def waits_for_node(pod: Obj) -> bool:
    """Whether this scheduler is to place ``pod`` now."""
    spec = section(pod, "spec")
    return not (
        spec.get("nodeName")
        or spec.get("schedulerName", SCHEDULER_NAME) != SCHEDULER_NAME
        or spec.get("schedulingGates")
        or pod["metadata"].get("deletionTimestamp")
        or section(pod, "status").get("phase") in ("Succeeded", "Failed")
    )


def explain(objections: Mapping[str, str]) -> str:
    """The sentence of a pod that fits nowhere, from the objection of each node (by name)."""
    if not objections:
        return "no nodes available to schedule pods"
    counted = sorted(f"{count} {reason}" for reason, count in Counter(objections.values()).items())
    return f"0/{len(objections)} nodes are available: {', '.join(counted)}."


def _placement_facts(node: Obj | None) -> object:
    """What of a node a placement depends on: heartbeats change nodes often and change none of this."""
    if node is None:
        return None
    return labels_of(node), section(node, "spec").get("unschedulable"), taints_of(node)


class Scheduler:
    """Binds waiting pods while :meth:`run` runs."""

    def __init__(self, client: Client) -> None:
        self.pods = Informer(client, PODS)
        self.nodes = Informer(client, NODES)
        self._client = client
        self._events = EventRecorder(client, SCHEDULER_NAME)
        self._queue = KeyedQueue(self._place, workers=_BINDERS, name="scheduler")
        self._count: Counter[str] = Counter()
        self._assumed: dict[str, str] = {}
        self._unplaced: set[str] = set()
        self.pods.on_change(self._pod_changed)
        self.nodes.on_change(self._node_changed)

    async def run(self) -> None:
        """Schedule until cancelled; says READY when both informers are synced."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pods.run())
            tasks.create_task(self.nodes.run())
            await self.nodes.wait_until("the scheduler's nodes", lambda _: True, _SYNC_LIMIT_S)
            await self.pods.wait_until("the scheduler's pods", lambda _: True, _SYNC_LIMIT_S)
            tasks.create_task(self._queue.run())
            notify.ready()

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        pod = new or old
        if pod is None:
            return
        key = key_of(pod)
        if new is None or section(new, "spec").get("nodeName"):
            self._unplaced.discard(key)
            self._forget(key)
        for node, change in ((_occupied(old), -1), (_occupied(new), 1)):
            if node:
                self._count[node] += change
        # The condition we write ourselves changes the status only, and must not bring the pod back.
        if new is not None and waits_for_node(new) and (old is None or old.get("spec") != new.get("spec")):
            self._queue.add(key)

    def _node_changed(self, old: Obj | None, new: Obj | None) -> None:
        if _placement_facts(old) != _placement_facts(new):
            for key in sorted(self._unplaced):
                self._queue.add(key)

    async def _place(self, key: str) -> None:
        pod = self.pods.store.get(key)
        if pod is None or not waits_for_node(pod) or key in self._assumed:
            return
        objections = {name: objection(pod, node) for name, node in self.nodes.store.items()}
        fitting = [name for name, reason in objections.items() if not reason]
        if not fitting:
            self._unplaced.add(key)
            await self._refuse(pod, explain(objections))
            return
        self._unplaced.discard(key)
        node = min(fitting, key=lambda name: (self._count[name], name))
        self._assumed[key] = node
        self._count[node] += 1
        try:
            await self._bind(pod, node)
        except BaseException:
            self._forget(key)
            raise

    async def _bind(self, pod: Obj, node: str) -> None:
        metadata = {"name": name_of(pod), "namespace": namespace_of(pod), "uid": uid_of(pod)}
        binding: Obj = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._client.create(PODS, binding, subresource="binding")
        except (NotFoundError, ConflictError) as error:
            # Deleted, made anew or bound by somebody else meanwhile: the watch will tell, nothing to do.
            _log.info("%s is not bound to %s: %s", key_of(pod), node, error)
            self._forget(key_of(pod))
            return
        self._events.record(pod, "Normal", "Scheduled", f"Successfully assigned {key_of(pod)} to {node}")

    async def _refuse(self, pod: Obj, message: str) -> None:
        self._events.record(pod, "Warning", "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        known = section(pod, "status").get("conditions") or []
        if any(condition.items() <= entry.items() for entry in known):
            return
        namespace, name = split_key(key_of(pod))
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(PODS, name, patch, namespace, subresource="status", kind="strategic")
        except (NotFoundError, ConflictError) as error:
            _log.info("%s is gone before it could be refused: %s", key_of(pod), error)

    def _forget(self, key: str) -> None:
        node = self._assumed.pop(key, None)
        if node is not None:
            self._count[node] -= 1


def _occupied(pod: Obj | None) -> str:
    """The node on which the pod takes a place, or the empty string."""
    if pod is None or section(pod, "status").get("phase") in ("Succeeded", "Failed"):
        return ""
    return str(section(pod, "spec").get("nodeName") or "")


async def _serve(kubeconfig: Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Client(load_kubeconfig(kubeconfig)) as client:
        work = asyncio.create_task(Scheduler(client).run(), name="scheduler")
        stop = asyncio.create_task(stopped.wait(), name="stop")
        await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        work.cancel()
        try:
            await work
        except asyncio.CancelledError:
            _log.info("stopped")


def main(argv: list[str]) -> int:
    """Role entry point; returns 0 after SIGTERM, 3 if it could not serve."""
    parser = argparse.ArgumentParser(
        prog="multinet-scheduler", description="Scheduler of the emulated cluster"
    )
    parser.add_argument("--kubeconfig", type=Path, required=True)
    options = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    failed = False
    try:
        uvloop.run(_serve(options.kubeconfig))
    except* MultinetError as group:
        failed = True
        for error in group.exceptions:
            _log.error("%s", error)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
