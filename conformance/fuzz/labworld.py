"""A lab that a fuzzer drives synchronously: started once, its objects followed, waited for until at rest.

Its event loop runs only while something is waited for; what the API server tells meanwhile waits in the
watches' sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from conformance.fuzz import asking, labrest, observing
from conformance.fuzz.engine import RestlessError
from conformance.fuzz.judge import unfinished
from conformance.fuzz.lablook import NodeEyes
from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import NAMESPACES, NODES
from multinet.errors import LabError
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import KubeError
from multinet.kube.informer import Informer
from multinet.kube.resources import NADS, PODS, Resource
from multinet.kube.resources import NAMESPACES as NAMESPACE
from multinet.model.objects import Obj, metadata_of, section
from multinet.waits import pause, turn, wait_for
from topology import linux, roles
from topology.backend import LabSpec
from topology.mininet_backend import MininetBackend
from topology.mininet_lab import MininetLab

T = TypeVar("T")
_LATE_LIMIT_S = 20.0
_SYNC_LIMIT_S = 10.0
_REQUEST_LIMIT_S = 20.0
# Between two looks at who sleeps; longer as long as somebody is awake, who needs the processor himself.
_BETWEEN_S, _BETWEEN_MOST_S = 0.002, 0.01
# From a socket of ours to the informer's store it takes some turns of the loop, whatever time they need.
_TURNS = 10
# What is left to do after everybody fell asleep waits for a timer; this long it is waited for.
PATIENCE_S = 3.0
# A pod that nothing stands in the way of any more waits for its kubelet's longest back-off between sandboxes.
_SANDBOX_S = 8.0
_LOOK_AGAIN_S = 0.02
# A lab this long without a moment of rest, with so many changes: two parts wake each other.
_RESTLESS_S, _RESTLESS_CHANGES = 4.0, 100
_LIMIT_S = 30.0
_GOODBYE_S = 0.1
_NUDGE = "multinet.fuzz/looked-at"
_STATE_BYTES = 256 * 1024


class LabWorld:
    """One running lab. ``cut`` and ``refusing`` are nodes of which nothing can be expected now."""

    def __init__(self, folder: Path, dialect: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.cut: set[str] = set()
        self.refusing: set[str] = set()
        self.changes = 0
        self._died: list[str] = []
        self._informers: dict[Resource, Informer] = {}
        self._running: list[asyncio.Task[None]] = []
        self.paths = roles.Paths(folder)
        for node in NODES:
            _bounded(self.paths.node(node) / "agent")
        self.lab: MininetLab = MininetBackend().start(LabSpec(NODES, folder, dialect), self._note)
        try:
            self.eyes = {
                node: NodeEyes(node, self.lab.node_ip(node), self.paths.node(node), self.lab.node_netns(node))
                for node in NODES
            }
            self.lab.wait_role("configapi", roles.CONTROL_PLANE, _LATE_LIMIT_S)
            self.client = Client(load_kubeconfig(self.lab.kubeconfig))
            self.run("start", self._open())
        except BaseException:
            self.lab.close()
            raise

    def close(self) -> None:
        """End the lab."""
        self.loop.run_until_complete(self._end())
        self.loop.close()
        for eyes in self.eyes.values():
            eyes.close()
        self.lab.stop()

    def run(self, name: str, work: Coroutine[Any, Any, T], limit_s: float = _REQUEST_LIMIT_S) -> T:
        """Run something to its end."""
        return self.loop.run_until_complete(wait_for(name, work, limit_s))

    def objects(self, resource: Resource) -> list[Obj]:
        """All objects of a kind, as of now when the lab is at rest."""
        return list(self._informers[resource].store.values())

    def settle(self, patience_s: float = PATIENCE_S) -> Seen:
        """Return what is to be seen when the lab is at rest and has nothing left to do.

        What it has left to do needs a timer then, and is waited for ``patience_s``. ``RestlessError`` when
        it does not come to rest, ``LabError`` when a role died.
        """
        return self.loop.run_until_complete(self._settle(patience_s))

    async def _settle(self, patience_s: float) -> Seen:
        begun = 0.0
        nudged: set[str] = set()
        while True:
            await self._quiet()
            seen = self.look()
            patience = self._owes(seen, patience_s)
            if not patience:
                return seen
            begun = begun or time.monotonic()
            if time.monotonic() >= begun + patience:
                return seen
            if held := self._held_up(seen) - nudged:
                nudged |= held
                await self._nudge(held)
            else:
                await pause("what a back-off holds up", _LOOK_AGAIN_S)

    def look(self) -> Seen:
        """Everything, as it is now."""
        objects = {resource: self.objects(resource) for resource in observing.KINDS}
        return observing.observe(
            objects, {name: eyes.look(cut=name in self.cut) for name, eyes in self.eyes.items()}
        )

    async def _quiet(self) -> None:
        """Return when nobody in the lab does anything."""
        begun, before_all, between = time.monotonic(), self.changes, _BETWEEN_S
        while True:
            changes, first = self.changes, labrest.sleepers()
            between = min(between * 1.5, _BETWEEN_MOST_S) if first is None else _BETWEEN_S
            await pause("a look at who sleeps", between)
            if first is not None and first == labrest.sleepers():
                # What they said last may still be in our own sockets, where nobody but we can see it.
                for _ in range(_TURNS):
                    await turn()
                if changes == self.changes:
                    self._check_roles()
                    return
            waited = time.monotonic() - begun
            if waited > _RESTLESS_S and self.changes - before_all > _RESTLESS_CHANGES:
                raise RestlessError(f"{self.changes - before_all} changes in {waited:.1f} s and no end")
            if waited > _LIMIT_S:
                raise LabError(
                    f"the lab did not come to rest in {_LIMIT_S:g} s",
                    why="a process of it is busy all the time",
                    next_step=f"see the logs in {self.paths.run_dir}/logs",
                )

    def heard(self) -> bool:
        """Whether nobody has to send anything again that was lost while links were down.

        What the control plane sends to a process that has ended, or has given the connection up, reaches
        nobody any more.
        """
        opened = {
            self.eyes[node].address: labrest.connections(self.lab.node_pid(node))
            for node in NODES
            if node not in self.cut
        }
        cut = {self.eyes[node].address for node in self.cut}
        if any(one.waits and one.far_address not in cut for ends in opened.values() for one in ends):
            return False
        ends = {(one.far, one.near) for found in opened.values() for one in found}
        places = {*opened, *cut}
        return not any(
            one.waits and ((one.near, one.far) in ends or one.far_address not in places)
            for one in labrest.connections(self.lab.node_pid(roles.CONTROL_PLANE))
        )

    def _held_up(self, seen: Seen) -> set[str]:
        """Pods with all that they need, whose kubelet does not try again yet."""
        return {
            key
            for key, pod in self._informers[PODS].store.items()
            if seen.pods[key].recorded
            and not seen.pods[key].running
            and not metadata_of(pod).get("deletionTimestamp")
            and str(section(pod, "spec").get("nodeName")) not in self.cut | self.refusing
        }

    async def _nudge(self, keys: set[str]) -> None:
        """Have kubelets look at pods, as any real one does when somebody changes an annotation."""
        for key in sorted(keys):
            with contextlib.suppress(KubeError):  # it may be gone by now
                await asking.annotate(self.client, key, {_NUDGE: str(time.monotonic_ns())})

    def _owes(self, seen: Seen, patience_s: float) -> float:
        """How long to wait for what somebody who can be reached has left to do; 0 when there is nothing."""
        owed = patience_s if seen.leftovers or seen.misled else 0.0
        for key, pod in self._informers[PODS].store.items():
            node = str(section(pod, "spec").get("nodeName"))
            if node in self.cut:
                continue
            there = seen.pods[key]
            if metadata_of(pod).get("deletionTimestamp"):
                owed = max(owed, patience_s)
            elif there.recorded and node not in self.refusing and (not there.running or unfinished(there)):
                owed = max(owed, patience_s, _SANDBOX_S)
        return owed

    def _check_roles(self) -> None:
        self.lab.process_events()
        if self._died:
            raise LabError("a role of the lab died", why="\n".join(self._died))

    def _note(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "role-exited" and not data["expected"]:
            self._died.append(json.dumps(data))

    async def _open(self) -> None:
        await self.client.__aenter__()
        for name in NAMESPACES[1:]:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.client.create(NAMESPACE, body)
        for resource in (*observing.KINDS, NADS):
            informer = self._informers[resource] = Informer(self.client, resource)
            informer.on_change(self._changed)
            self._running.append(asyncio.create_task(informer.run(), name=f"{resource.plural}"))
        for informer in self._informers.values():
            await wait_for("the first list", informer.synced.wait(), _SYNC_LIMIT_S)

    async def _end(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.client.__aexit__(None, None, None)
        # TLS says goodbye before it closes: the loop must still run then.
        await pause("connections to close", _GOODBYE_S)

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        del old, new
        self.changes += 1


def _bounded(directory: Path) -> None:
    """A file system of its own for an agent's files, so that it can be full."""
    directory.mkdir(parents=True, exist_ok=True)
    if not directory.is_mount():
        linux.mount("tmpfs", str(directory), "tmpfs", data=f"size={_STATE_BYTES},mode=700")
