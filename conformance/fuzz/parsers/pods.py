"""Pods on their way to the kubelet: what the API took, the kubelet reads, or refuses by naming what it can't.

The kubelet's own net under an unreadable pod (``its spec can't be read``) is not counted as reading: the
functions are asked themselves. Nothing is started; volumes are checked and not made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.apihost import ApiHost
from conformance.fuzz.parsers.grammar import ODD, mutated
from conformance.fuzz.parsers.kubernetes import SAMPLES, check, collection
from conformance.fuzz.parsers.subject import Subject, refused
from multinet.errors import InputError
from multinet.kubelet import (
    environment,
    handlers,
    podspec,
    probes,
    projection,
    references,
    runtimeargs,
    scheduler,
    volumes,
)
from multinet.kubelet.environment import Sources
from multinet.kubelet.podspec import PodFacts
from multinet.kubelet.references import Reference
from multinet.model import policies, selection
from multinet.model.objects import Obj, annotations_of, section
from multinet.model.selection import SelectionError

_HELD: dict[str, Obj] = {
    "configMap": {"metadata": {"name": "m"}, "data": {"k": "v", "a b": "w"}, "binaryData": {"b": "aGk="}},
    "secret": {"metadata": {"name": "s"}, "data": {"k": "aGk="}},
}
_SOURCES = Sources(PodFacts("node1", ("10.0.0.2",), ("10.1.0.5",)), lambda asked: _find(asked))
_SAMPLE: Any = SAMPLES["pods"]
# Changes of one part at a time reach deeper than changes anywhere.
_PARTS = sorted(_SAMPLE["spec"]["containers"][0])


def _find(asked: Reference) -> Obj | None:
    held = _HELD[asked.kind]
    return held if held["metadata"]["name"] == asked.name else None


@st.composite
def _pods(draw: st.DrawFn) -> Any:
    pod = json.loads(json.dumps(_SAMPLE))
    way = draw(st.integers(0, 3))
    if way == 0:
        return draw(mutated([pod], ODD, least=1))
    if way == 1:
        pod["spec"]["volumes"] = draw(mutated([pod["spec"]["volumes"]], ODD, least=1))
        return pod
    container = pod["spec"]["containers"][0]
    part = draw(st.sampled_from(_PARTS))
    container[part] = draw(mutated([container[part]], ODD, least=1))
    return pod


def _pod(given: Any) -> str:
    stored = asyncio.run(_stored(given))
    if stored is None:
        return "refused"
    words = {_asked(part, stored) for part in _PARTS_OF_A_POD}
    for container in (*podspec.containers_of(stored), *podspec.containers_of(stored, "initContainers")):
        words |= {_asked(part, stored, container) for part in _PARTS_OF_A_CONTAINER}
    return "refused later" if "refused" in words else "read"


async def _stored(given: Any) -> Obj | None:
    host = ApiHost()
    asked = {"method": "POST", "path": collection("pods"), "body": given}
    answer = await host.ask(asked)
    check(answer, asked)
    made: Obj = answer.body
    return made if answer.status == 201 else None


def _asked(read: Callable[..., object], *given: object) -> str:
    try:
        read(*given)
    except SelectionError as error:
        return refused(error)
    except InputError as error:
        # The kubelet's errors name the field in what they say; where is for those that have one.
        return "refused" if str(error) else ""
    return "read"


def _selection(pod: Obj) -> None:
    text = annotations_of(pod).get("k8s.v1.cni.cncf.io/networks", "")
    selection.parse(text, pod_namespace="default")


def _volumes(pod: Obj) -> None:
    for volume in section(pod, "spec").get("volumes") or ():
        if any(kind in volume for kind in projection.KINDS):
            _asked(projection.payload_of, pod, volume, _SOURCES)


def _hooks(_pod: Obj, container: Obj) -> None:
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _asked(handlers.check, hook, container, "a hook")


def _command(pod: Obj, container: Obj) -> None:
    env = environment.environment_of(pod, container, _SOURCES)
    podspec.command_of(container, env)


_PARTS_OF_A_POD: tuple[Callable[[Obj], object], ...] = (
    podspec.grace_seconds,
    podspec.hostname_of,
    podspec.restart_policy,
    podspec.ignored_fields,
    references.references_of,
    runtimeargs.capability_args,
    policies.named_ports,
    scheduler.waits_for_node,
    _selection,
    _volumes,
)
_PARTS_OF_A_CONTAINER: tuple[Callable[[Obj, Obj], object], ...] = (
    _command,
    _hooks,
    volumes.check,
    lambda _pod, container: probes.probes_of(container),
    lambda _pod, container: (podspec.working_dir(container), podspec.is_sidecar(container)),
)

SUBJECTS = (Subject("pod", _pods(), _pod),)
