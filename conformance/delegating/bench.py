"""The bench for delegating implementations: the suite is the runtime, the recorder is every delegate.

An implementation's plugin is executed as a runtime would, against the embedded API, and what it does is read
from the recorder's log, its own output and the pod's annotation. Network namespaces are names only, and no
interface is made, so nothing of the machine can be harmed by a target; a target that is ``isolated`` runs
where nothing of the machine is, and gets an empty network namespace for each pod.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conformance.api import NADS, PODS, Api, ApiError
from conformance.cnicall import Container
from conformance.delegating import (
    DEFAULT,
    DELEGATES,
    NETWORKS,
    STATUS,
    VERSION,
    DelegatingTarget,
    Node,
    Outcome,
    Pod,
    Resident,
    single,
)
from conformance.evidence import Evidence
from conformance.recorder import Answer, Call, Recorder, environment
from multinet.model.objects import Obj

_LIMIT_S = 60.0


@dataclass(slots=True)
class Case:
    """The world of one test: two namespaces, a node, and what the recorder saw."""

    target: DelegatingTarget
    api: Api
    recorder: Recorder
    node: Node
    evidence: Evidence
    namespace: str
    other: str
    version: str = VERSION
    _numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)
    _containers: list[Container] = field(default_factory=list)

    def close(self) -> None:
        """Take the network namespaces of its pods away."""
        for container in self._containers:
            container.remove()

    # -- what there is ---------------------------------------------------------------------------------------

    def nad(self, name: str, config: Obj | str | None = None, *, namespace: str = "") -> str:
        """A NAD; without ``config`` one of a single recorder. A string is written as it is; ``""`` too."""
        space = namespace or self.namespace
        text = config if isinstance(config, str) else json.dumps(single(name) if config is None else config)
        return self.bare_nad(name, {"config": text}, namespace=space)

    def bare_nad(self, name: str, spec: Obj | None, *, namespace: str = "") -> str:
        """A NAD with this ``spec``, or without one."""
        space = namespace or self.namespace
        obj: Obj = {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": space},
        }
        if spec is not None:
            obj["spec"] = spec
        self.api.create(NADS.format(space), obj)
        return name

    def change_nad(self, name: str, config: Obj) -> None:
        """Another configuration for a NAD of the pod's namespace."""
        change = {"spec": {"config": json.dumps(config)}}
        self.api.merge(f"{NADS.format(self.namespace)}/{name}", change)

    def delete_nad(self, name: str) -> None:
        """A NAD of the pod's namespace goes."""
        self.api.delete(f"{NADS.format(self.namespace)}/{name}")

    def file(self, name: str, content: Obj | str) -> None:
        """A configuration on the node."""
        text = content if isinstance(content, str) else json.dumps(content)
        (self.node.conf_dir / name).write_text(text, encoding="utf-8")

    def pod(self, networks: str | Sequence[Any] | None, *, name: str = "", **annotations: str) -> Pod:
        """A pod; ``networks`` is the annotation's text, a list for the JSON format, or None for none."""
        marks = {key.replace("__", "/"): value for key, value in annotations.items()}
        if networks is not None:
            marks[NETWORKS] = networks if isinstance(networks, str) else json.dumps(networks)
        made = self._made(name, marks)
        self.evidence.case({"annotations": marks})
        return made

    def _made(self, name: str, marks: Mapping[str, str]) -> Pod:
        obj: Obj = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name or f"pod-{self._numbers()}",
                "namespace": self.namespace,
                "annotations": marks,
            },
            "spec": {"nodeName": "node1", "containers": [{"name": "idle", "image": "idle"}]},
        }
        metadata = self.api.create(PODS.format(self.namespace), obj)["metadata"]
        return Pod(self.namespace, metadata["name"], metadata["uid"], self._sandbox())

    def _sandbox(self) -> str:
        if not self.target.isolated:
            return f"{self.namespace}-{self._numbers()}"
        self._containers.append(Container.make())
        return self._containers[-1].id

    def delete_pod(self, pod: Pod) -> None:
        """The pod's object goes."""
        self.api.delete(f"{PODS.format(pod.namespace)}/{pod.name}")

    def annotate(self, pod: Pod, networks: str) -> None:
        """Another selection."""
        change = {"metadata": {"annotations": {NETWORKS: networks}}}
        self.api.merge(f"{PODS.format(pod.namespace)}/{pod.name}", change)

    def on_node(self, **changes: Any) -> None:
        """Another node from now on; see :class:`Node`."""
        self.node = replace(self.node, **changes)

    def real_interfaces(self) -> None:
        """Delegates make real interfaces from now on, where pods have real network namespaces."""
        if self.target.isolated:
            self.recorder.answer(Answer(command="ADD", make=True))

    # -- what the runtime does -------------------------------------------------------------------------------

    def command(self, name: str, pod: Pod) -> tuple[list[str], dict[str, str]]:
        """Command line and environment of a call, for tests that start it themselves."""
        if isinstance(self.target, Resident):
            self.target.catch_up()
        env = environment(self.node.path) | {
            "CNI_COMMAND": name,
            "CNI_CONTAINERID": pod.container,
            "CNI_NETNS": f"/run/netns/{pod.container}",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": (
                f"IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.namespace};K8S_POD_NAME={pod.name};"
                f"K8S_POD_INFRA_CONTAINER_ID={pod.container};K8S_POD_UID={pod.uid}"
            ),
        }
        return [str(self.target.binary)], env

    def config(self, more: Mapping[str, Any] | None = None) -> str:
        """What the runtime sends."""
        return json.dumps({**self.target.config(self.node), "cniVersion": self.version, **(more or {})})

    def call(self, name: str, pod: Pod, **more: Any) -> Outcome:
        """One call; ``more`` are keys of its configuration: ``runtimeConfig``, say. A crash fails."""
        argv, env = self.command(name, pod)
        try:
            done = subprocess.run(
                argv, input=self.config(more), env=env, text=True, capture_output=True,
                check=False, timeout=_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} did not end in {_LIMIT_S:g} s") from None
        outcome = Outcome(name, done.returncode, done.stdout, done.stderr)
        self.evidence.saw(f"{outcome}; calls: {self.recorder.text()}")
        self.evidence.log("recorder", self.recorder.text())
        self.evidence.log("stderr", done.stderr)
        if isinstance(self.target, Resident):
            self.evidence.log("daemon", self.target.said())
        outcome.assert_orderly()
        return outcome

    def add(self, pod: Pod, **more: Any) -> Outcome:
        """ADD, whatever comes of it."""
        return self.call("ADD", pod, **more)

    def attach(self, pod: Pod, **more: Any) -> Obj:
        """ADD that succeeds; its result."""
        outcome = self.call("ADD", pod, **more)
        assert outcome.ok, f"ADD failed: {outcome.stdout[:600]}"
        return outcome.answer

    def delete(self, pod: Pod, **more: Any) -> Outcome:
        """DEL, whatever comes of it."""
        return self.call("DEL", pod, **more)

    # -- what was seen ---------------------------------------------------------------------------------------

    def calls(self, command: str = "ADD", network: str = "") -> list[Call]:
        """Calls of delegates, but those of the default network unless it is named."""
        found = self.recorder.calls(command, network=network)
        return [call for call in found if network or call.network != DEFAULT]

    def exactly(self, count: int, command: str = "ADD", network: str = "") -> list[Call]:
        """As many calls as expected."""
        found = self.calls(command, network)
        what = network or "selected networks"
        assert len(found) == count, f"{command} of {what}: {len(found)} calls, expected {count}"
        return found

    def one(self, command: str = "ADD", network: str = "") -> Call:
        """The only such call."""
        return self.exactly(1, command, network)[0]

    def status(self, pod: Pod) -> list[Obj] | None:
        """The status annotation; None without one."""
        try:
            obj = self.api.get(f"{PODS.format(pod.namespace)}/{pod.name}")
        except ApiError:
            return None
        text = (obj["metadata"].get("annotations") or {}).get(STATUS)
        if text is None:
            return None
        try:
            value = json.loads(text)
        except ValueError:
            raise AssertionError(f"status is no JSON: {text[:400]}") from None
        assert isinstance(value, list), f"status is no list: {text[:400]}"
        assert all(isinstance(entry, dict) for entry in value), f"status is no list of maps: {text[:400]}"
        return value

    def entries(self, pod: Pod) -> list[Obj]:
        """Status of the selected networks."""
        found = self.status(pod)
        assert found is not None, "the pod has no status annotation"
        return [entry for entry in found if entry.get("default") is not True]

    def entry(self, pod: Pod) -> Obj:
        """The status of the only selected network."""
        found = self.entries(pod)
        assert len(found) == 1, f"{len(found)} entries of selected networks, expected 1: {found}"
        return found[0]

    # -- judgements ------------------------------------------------------------------------------------------

    def assert_refused(self, pod: Pod, what: str = "", *, control: str = "") -> Outcome:
        """ADD fails, for good; what was tried is torn down by DEL. ``control``: see :meth:`decided`."""
        outcome = self.decided(pod, control)
        if outcome.ok:
            attached = [str(call) for call in self.calls()]
            self.evidence.unsafe(f"{what or 'it'} was accepted; attached: {attached or 'nothing'}")
        return outcome

    def decided(self, pod: Pod, control: str = "") -> Outcome:
        """ADD of what should be refused; no other reason for a refusal counts.

        After one, a pod that selects ``control`` (nothing, if empty) must be attached, else the verdict is
        unknown. Then the same is asked again in a fresh sandbox, as a kubelet would: the reason of the first
        time may have passed.
        """
        outcome = self.add(pod)
        if outcome.ok:
            return outcome
        self.assert_torn_down(pod)
        beside = self._made("", {NETWORKS: control} if control else {})
        taken = self.add(beside)
        self.delete(beside)
        if not taken.ok:
            self.evidence.unknown(
                f"the control, a pod with {control or 'no selection'}, is refused too: {taken}"
            )
        self.recorder.forget()
        again = replace(pod, container=self._sandbox())
        outcome = self.add(again)
        if not outcome.ok:
            self.assert_torn_down(again)
        return outcome

    def assert_torn_down(self, pod: Pod) -> None:
        """After DEL each attachment for which an ADD was seen had its DEL."""
        self.delete(pod)
        added = {call.attachment for call in self.recorder.calls("ADD")}
        deleted = {call.attachment for call in self.recorder.calls("DEL")}
        assert added <= deleted, f"no DEL for {sorted(added - deleted)}"

    def judge_invalid(self, networks: str | Sequence[Any], *, or_absent: bool = False) -> None:
        """The annotation is invalid: it is ignored (as the text says) or refused; the rest is unsafe.

        The NAD ``net-a`` is there, and is what the control selects.
        ``or_absent``: what is wrong is a ``null``, which may be read as a key that is not there.
        """
        outcome = self.decided(self.pod(networks), control="net-a")
        attached = [str(call) for call in self.calls()]
        if outcome.ok and attached and or_absent:
            self.evidence.ambiguous(f"null is taken for a key that is not there; attached: {attached}")
        elif outcome.ok and attached:
            self.evidence.unsafe(f"{networks} was accepted; attached: {attached}")
        if not outcome.ok:
            self.evidence.fail_closed(f"refused: {outcome.answer.get('msg', '')}")


class Bench:
    """What the tests of one process share: the API, the recorder, a folder."""

    def __init__(self, target: DelegatingTarget, kubeconfig: Path, folder: Path) -> None:
        self.target = target
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._api = Api(kubeconfig)
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """No more cases."""
        self._api.close()

    def case(self, evidence: Evidence) -> Case:
        """A fresh world for one test."""
        number = next(self._numbers)
        folder = self._folder / f"case-{number}"
        namespace, other = f"case-{number}", f"case-{number}-other"
        for name in (namespace, other):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._api.create("/api/v1/namespaces", body)
        recorder = Recorder(folder / "recorder")
        recorder.install(DELEGATES)
        node = Node(
            kubeconfig=self._kubeconfig,
            path=(recorder.bin, self.target.binary.parent),
            conf_dir=folder / "net.d",
            state_dir=folder / "state",
            default=single(DEFAULT, "portMappings", "bandwidth", plugin="default-delegate"),
        )
        node.conf_dir.mkdir(parents=True)
        node.state_dir.mkdir()
        return Case(self.target, self._api, recorder, node, evidence, namespace, other)
