"""Any target of the conformance suite that is a cluster, as an engine with the steps that it can take.

Nothing is known of its insides: what a pod has is what its status says (NPWG 5) and what the kernel has.
Nor does it say when it is at rest, so whoever judges asks again for a while (:class:`Patient`) as long as
something is missing that may still come. All is done in two namespaces of the engine's own, and nothing that
it did not make is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from conformance.fuzz import asking, steps
from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import NAMESPACES, NODES, Step
from conformance.fuzz.targetlook import RULES_OF_CONTRAIL, RULES_OF_THE_STANDARD, Foreign, look
from conformance.profiles import Feature, Profile
from conformance.target import CannotProvideError, ClusterTarget, Network
from multinet.errors import InputError, LabError
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import AlreadyExistsError, KubeError
from multinet.kube.informer import Informer
from multinet.kube.resources import NADS, PODS
from multinet.kube.resources import NAMESPACES as NAMESPACE
from multinet.model.objects import ANNOTATION_SELECTION, Obj, metadata_of, name_of, namespace_of
from multinet.waits import pause, turn, wait_for

T = TypeVar("T")
_NEEDED = frozenset({Feature.IPS, Feature.MAC, Feature.INTERFACE, Feature.STATUS})
_REQUEST_LIMIT_S = 30.0
_GONE_LIMIT_S = 60.0
# So long nothing happens before anybody looks, and so long it is worth asking again.
_QUIET_S, _QUIET_LIMIT_S = 0.3, 5.0
_PATIENCE_S = 12.0
# A kubelet tries a sandbox that failed again after 10 to 15 s.
_LIVE_PATIENCE_S = 60.0
# From a socket to the informer's store it takes some turns of the loop, whatever time they need.
_TURNS = 10
_MOMENT_S = 0.5
_GOODBYE_S = 0.1
_BROKEN = {
    "config": "{“cniVersion”: 1",
    "foreign": json.dumps({"cniVersion": "0.3.1", "type": "plugin-of-nobody"}),
}


class TargetEngine:
    """An :class:`~conformance.fuzz.engine.Engine` that is :class:`~conformance.fuzz.engine.Patient`.

    To be made where the target may be started; ``folder`` is for its files.
    """

    def __init__(self, target: ClusterTarget, folder: Path) -> None:
        lacking = sorted(_NEEDED - target.claim.features)
        if lacking:
            raise InputError(
                f"the target does not claim {', '.join(lacking)}", why="the fuzzer's pods ask for all of it"
            )
        self._target = target
        self._spaces = dict(zip(NAMESPACES, ("multinet-fuzz-1", "multinet-fuzz-2"), strict=True))
        contrail = Profile.CONTRAIL_MULTINET in target.claim.profiles
        self._rules = RULES_OF_CONTRAIL if contrail else RULES_OF_THE_STANDARD
        self._patience_s = _PATIENCE_S if target.isolated else _LIVE_PATIENCE_S
        self._until = 0.0
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        target.attach(target.start(folder))
        self._client = Client(load_kubeconfig(target.kubeconfig))
        try:
            self._run("the first list", self._open())
        except BaseException:
            target.stop()
            raise
        self._do: dict[type[Step], Callable[[Any], None]] = {
            steps.ApplyNad: self._apply_nad,
            steps.DeleteNad: self._ask,
            steps.CreatePod: self._create_pod,
            steps.EditSelection: self._edit_selection,
            steps.DeletePod: self._ask,
            steps.Elapse: lambda _step: self._run("time to pass", pause("a moment", _MOMENT_S)),
        }
        with contextlib.suppress(CannotProvideError):
            target.restart_control()
            self._do[steps.RestartController] = lambda _step: target.restart_control()
        with contextlib.suppress(CannotProvideError):
            self._restart_agent()
            self._do[steps.RestartAgent] = lambda _step: self._restart_agent()

    def supports(self, kind: type[Step]) -> bool:
        """What users and administrators do with pods and NADs, and restarts where the target has them."""
        return kind in self._do

    def reset(self) -> None:
        """Delete what was made."""
        self._run("the end of everything", self._delete_all(), _GONE_LIMIT_S)

    def do(self, step: Step) -> None:
        """Carry out a step, and wait until nothing has happened for a moment."""
        self._do[type(step)](step)
        self._run("a moment of rest", self._quiet(), _GONE_LIMIT_S + _QUIET_LIMIT_S)
        self._until = time.monotonic() + self._patience_s

    def more_time(self) -> bool:
        """Wait for the next change; False when there was none and it is too late for another look."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        self._run("a change", self._change(left), left + _REQUEST_LIMIT_S)
        return True

    def observe(self) -> Seen:
        """What pods' status and kernel say now."""
        pods = list(self._pods.store.values())
        return look(pods, self._target, Foreign(self._spaces), self._rules)

    def close(self) -> None:
        """Delete everything that was made here, and stop the target."""
        with contextlib.suppress(LabError, KubeError):
            self.reset()
        self._run("the end", self._end())
        self._loop.close()
        self._target.stop()

    def _run(self, name: str, work: Coroutine[Any, Any, T], limit_s: float = _REQUEST_LIMIT_S) -> T:
        return self._loop.run_until_complete(wait_for(name, work, limit_s))

    async def _open(self) -> None:
        await self._client.__aenter__()
        for name in self._spaces.values():
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            try:
                await self._client.create(NAMESPACE, body)
            except AlreadyExistsError as error:
                raise InputError(
                    f"the namespace {name} is there already",
                    why="another fuzzer is at work on this cluster, or was killed there",
                    next_step=f"kubectl delete namespace {' '.join(self._spaces.values())}",
                ) from error
        self._pods = Informer(self._client, PODS)
        self._pods.on_change(lambda _old, _new: self._changed.set())
        self._watching = asyncio.create_task(self._pods.run(), name="pods")
        await self._pods.synced.wait()

    async def _end(self) -> None:
        for name in self._spaces.values():
            with contextlib.suppress(KubeError):
                await self._client.delete(NAMESPACE, name)
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._client.__aexit__(None, None, None)
        # TLS says goodbye before it closes: the loop must still run then.
        await pause("connections to close", _GOODBYE_S)

    async def _change(self, limit_s: float) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._changed.wait()
        # On a busy machine the time may be up while news wait in our sockets, where nobody else sees them.
        for _ in range(_TURNS):
            await turn()

    async def _quiet(self) -> None:
        while any(metadata_of(pod).get("deletionTimestamp") for pod in self._own()):
            await self._change(_QUIET_S)
        until = time.monotonic() + _QUIET_LIMIT_S
        while time.monotonic() < until:
            await self._change(_QUIET_S)
            if not self._changed.is_set():
                return

    def _own(self) -> list[Obj]:
        mine = set(self._spaces.values())
        return [pod for pod in self._pods.store.values() if namespace_of(pod) in mine]

    async def _delete_all(self) -> None:
        for space in self._spaces.values():
            for resource in (PODS, NADS):
                for one in (await self._client.list(resource, space)).items:
                    with contextlib.suppress(KubeError):
                        await self._client.delete(resource, name_of(one), space, grace_seconds=1)
        while self._own():
            await self._change(_QUIET_S)

    def _restart_agent(self) -> None:
        """Of the last node, whichever the step names: no other is asked of a target."""
        node = self._target.nodes[-1]
        self._target.take_down(node)
        self._target.bring_up(node)

    def _ask(self, step: steps.DeleteNad | steps.DeletePod) -> None:
        self._run(str(step), asking.ask(self._client, replace(step, key=self._here(step.key))))

    def _apply_nad(self, step: steps.ApplyNad) -> None:
        namespace, _, name = self._here(step.key).partition("/")
        wish = Network(name, namespace, tuple(part.strip() for part in step.cidr.split(",") if part.strip()))
        nad = dict(self._target.nad(wish))
        if step.broken:
            nad["spec"] = {"config": _BROKEN[step.broken]}
        self._run(str(step), asking.apply(self._client, nad))

    def _create_pod(self, step: steps.CreatePod) -> None:
        namespace, _, name = self._here(step.key).partition("/")
        metadata: Obj = {"name": name, "namespace": namespace}
        selection = step.text or self._selection(step.picks, namespace)
        if selection:
            metadata["annotations"] = {ANNOTATION_SELECTION: selection}
        spec: Obj = {"containers": [self._target.container()], "terminationGracePeriodSeconds": 1}
        nodes = self._target.nodes
        if nodes:
            spec["nodeName"] = nodes[NODES.index(step.node) % len(nodes)]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self._run(str(step), self._client.create(PODS, pod))

    def _edit_selection(self, step: steps.EditSelection) -> None:
        key = self._here(step.key)
        text = self._selection(step.picks, key.partition("/")[0]) or None
        self._run(str(step), asking.annotate(self._client, key, {ANNOTATION_SELECTION: text}))

    def _selection(self, picks: tuple[steps.Pick, ...], namespace: str) -> str:
        here = tuple(replace(pick, nad=self._here(pick.nad)) for pick in picks)
        return steps.selection_text(here, namespace)

    def _here(self, key: str) -> str:
        space, _, name = key.partition("/")
        return f"{self._spaces[space]}/{name}"
