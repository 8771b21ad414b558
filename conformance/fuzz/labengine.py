"""The lab engine: the steps in a real lab, with real processes, kernels and time.

The lab is started once and emptied between examples, as an administrator would; only a lab that can't be
emptied is replaced. Two kinds of step are another thing here than in the model engine: a node refuses devices
when its agent can't note them (:mod:`conformance.fuzz.fulldisk`), and time that passes is a moment.
``LoseAnswers`` is not possible.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from conformance.fuzz import asking, manifests, steps
from conformance.fuzz.fulldisk import FullDisk
from conformance.fuzz.labworld import PATIENCE_S, LabWorld
from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import NODES, Step
from multinet.cni.runtime_cache import CachedAttachment, ResultCache
from multinet.cni.runtime_config import parse_network
from multinet.cni.runtime_invoke import environment, plugin_config
from multinet.errors import LabError
from multinet.kube.errors import KubeError
from multinet.kube.resources import NADS, PODS, VIRTUAL_NETWORKS
from multinet.model.objects import ANNOTATION_NAD, annotations_of, name_of, namespace_of
from multinet.waits import pause
from topology import roles

_MADE_IN = [manifests.DOMAIN, manifests.PROJECT]
# Longer than the kubelet's longest back-off, for what failed while a node could not.
_RECOVERY_S = 7.0
_HEARD_LIMIT_S = 15.0
_LOOK_AGAIN_S = 0.02
# Of a minute only so much is waited for: longer than the controller gives a NAD to arrive.
_MOMENT_S = 0.25


class LabEngine:
    """An :class:`~conformance.fuzz.engine.Engine`. ``folder`` is for the lab's logs.

    To be made in namespaces of its own (:func:`topology.isolation.enter`); the lab is started when it is
    first needed. Roles take the environment of this process when they start: see :meth:`renew`.
    """

    def __init__(self, folder: Path, dialect: str = "default") -> None:
        self._folder = folder
        self._dialect = dialect
        self._world: LabWorld | None = None
        self._disks: dict[str, FullDisk] = {}
        self._seen: Seen | None = None
        self._do: dict[type[Step], Callable[..., None]] = {
            **dict.fromkeys(asking.KINDS, self._ask),
            steps.MakeNetwork: self._make_network,
            steps.RemoveNetwork: self._remove_network,
            steps.RestartController: lambda _step: self._restart("controller", roles.CONTROL_PLANE),
            steps.RestartAgent: lambda step: self._restart("vrouter", step.node),
            steps.Reboot: lambda step: self.world.lab.reboot(step.node, wait=step.node not in self.world.cut),
            steps.Cut: self._cut,
            steps.Heal: self._heal,
            steps.RepeatCall: self._repeat_call,
            steps.RefuseDevices: self._refuse_devices,
            steps.Elapse: self._elapse,
        }

    @property
    def world(self) -> LabWorld:
        """The lab."""
        if self._world is None:
            self._world = LabWorld(self._folder, self._dialect)
            self._disks = {name: FullDisk(eyes.state_dir) for name, eyes in self._world.eyes.items()}
        return self._world

    def supports(self, kind: type[Step]) -> bool:
        """All but a bad connection."""
        return kind in self._do

    def do(self, step: Step) -> None:
        """Carry out a step, and wait until the lab is at rest."""
        self._seen = None
        self._do[type(step)](step)
        late = isinstance(step, steps.Heal | steps.RefuseDevices | steps.Reboot | steps.RestartAgent)
        self._seen = self.world.settle(_RECOVERY_S if late else PATIENCE_S)

    def observe(self) -> Seen:
        """What there was when the last step had come to its end."""
        return self._seen if self._seen is not None else self.world.settle()

    def renew(self) -> None:
        """Start what the implementation consists of again, with the environment of this process now."""
        self._seen = None
        self._restart("controller", roles.CONTROL_PLANE)
        for node in NODES:
            self._restart("vrouter", node)

    def reset(self) -> None:
        """Delete everything; replace the lab where that does not help."""
        self._seen = None
        if self._empty():
            return
        try:
            self._mend()
            self._delete_all()
            self.renew()
            self.world.settle(_RECOVERY_S)
        except LabError:
            pass  # a lab that does not even come to rest is replaced
        else:
            if self._empty():
                return
        self.close()
        if not self._empty():
            raise LabError("a new lab is not empty", next_step=f"see the logs in {self._folder}/logs")

    def close(self) -> None:
        """End the lab."""
        self._seen = None
        if self._world is not None:
            for disk in self._disks.values():
                disk.empty()
            self._world.close()
            self._world = None

    def _empty(self) -> bool:
        """Empty the lab; False when something stays."""
        try:
            if self._mend() or self._delete_all():
                self.world.settle()
            seen = self.world.settle(_RECOVERY_S)
        except LabError:
            return False
        return not (
            seen.pods or seen.networks or seen.owners or seen.leftovers or seen.misled
        ) and not self.world.objects(NADS)

    def _mend(self) -> bool:
        """End all faults; whether there were any."""
        world = self.world
        faults = bool(world.cut or world.refusing)
        for node in tuple(world.refusing):
            self._refuse_devices(steps.RefuseDevices(node, False))
        for node in tuple(world.cut):
            self._heal(steps.Heal(node))
        return faults

    def _delete_all(self) -> bool:
        """Ask for the end of every object that a step makes; whether there were any."""
        world = self.world
        pods, nads = world.objects(PODS), world.objects(NADS)
        made = [
            vn["spec"]["fqName"][2]
            for vn in world.objects(VIRTUAL_NETWORKS)
            if ANNOTATION_NAD not in annotations_of(vn) and list(vn["spec"]["fqName"][:2]) == _MADE_IN
        ]
        made = [name for name in made if not name.endswith(("-pod-network", "-service-network"))]

        async def delete() -> None:
            for resource, found in ((PODS, pods), (NADS, nads)):
                for one in found:
                    with contextlib.suppress(KubeError):
                        await world.client.delete(resource, name_of(one), namespace_of(one), grace_seconds=0)

        world.run("the end of everything", delete())
        if made:
            world.settle()
            for name in made:
                self._remove_network(steps.RemoveNetwork(name))
        return bool(pods or nads or made)

    def _ask(self, step: Step) -> None:
        self.world.run(str(step), asking.ask(self.world.client, step))

    def _make_network(self, step: steps.MakeNetwork) -> None:
        body = {"virtual-network": manifests.config_network(step)}
        self._config("POST", "/virtual-networks", body)

    def _remove_network(self, step: steps.RemoveNetwork) -> None:
        named = {"type": "virtual-network", "fq_name": [*_MADE_IN, step.network]}
        found = self._config("POST", "/fqname-to-id", named)
        if "uuid" in found:
            self._config("DELETE", f"/virtual-network/{found['uuid']}")

    def _config(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """One request to the config API; what it refuses is answered by nothing, as a step may be refused."""
        world = self.world
        address = f"http://{world.lab.node_ip(roles.CONTROL_PLANE)}:{roles.CONFIG_API_PORT}"
        headers = {"X-Auth-Token": str(world.client.access.token)}

        async def ask() -> dict[str, Any]:
            async with (
                aiohttp.ClientSession(address, headers=headers) as session,
                session.request(method, path, json=body) as answer,
            ):
                text = await answer.text()
                if answer.status in (401, 403) or answer.status >= 500:
                    raise LabError(f"the config API answered {answer.status} to {method} {path}", why=text)
                return json.loads(text or "{}") if answer.status < 300 else {}

        return world.run(f"{method} {path} of the config API", ask())

    def _restart(self, role: str, node: str) -> None:
        lab = self.world.lab
        lab.kill(role, node, signal.SIGKILL)
        lab.restart(role, node, wait=node not in self.world.cut)

    def _cut(self, step: steps.Cut) -> None:
        self.world.cut.add(step.node)
        self.world.lab.set_link(step.node, up=False)

    def _heal(self, step: steps.Heal) -> None:
        world = self.world
        world.lab.set_link(step.node, up=True)
        world.cut.discard(step.node)

        async def hear() -> None:
            until = time.monotonic() + _HEARD_LIMIT_S
            while not world.heard() and time.monotonic() < until:
                await pause("what was lost to be sent again", _LOOK_AGAIN_S)

        world.run(str(step), hear())

    def _repeat_call(self, step: steps.RepeatCall) -> None:
        for node, eyes in self.world.eyes.items():
            for sandbox in eyes.sandboxes():
                if sandbox.pod != step.key:
                    continue
                cache = ResultCache(self.world.paths.node(node) / "kubelet" / "cni-cache")
                for cached in cache.all():
                    if cached.attachment.container_id == sandbox.container:
                        self._call(node, step.verb, cached)
                if step.verb == "DEL":
                    # The runtime that asks for it is about to end the sandbox.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(sandbox.pid, signal.SIGKILL)

    def _call(self, node: str, verb: str, cached: CachedAttachment) -> None:
        """The plugin itself, in the node, with what it got at ADD; its answer is nobody's business here."""
        network = parse_network(cached.source, where="the kubelet's cache")
        binaries = self.world.paths.node(node) / "cni" / "bin"
        previous = None if verb == "ADD" else cached.result
        for plugin in network.plugins:
            config = plugin_config(network, plugin, cached.attachment, previous)
            told = environment(verb, cached.attachment, [binaries])
            variables = [f"{key}={value}" for key, value in told.items() if key.startswith("CNI_")]
            argv = ["env", *variables, str(binaries / str(plugin["type"]))]
            self.world.lab.exec(node, argv, stdin=json.dumps(config))

    def _refuse_devices(self, step: steps.RefuseDevices) -> None:
        disk = self._disks[step.node]
        if step.on:
            disk.fill()
            self.world.refusing.add(step.node)
        else:
            disk.empty()
            self.world.refusing.discard(step.node)

    def _elapse(self, step: steps.Elapse) -> None:
        self.world.run(str(step), pause("time to pass", min(float(step.seconds), _MOMENT_S)))
