"""What a target shows of the fuzzer's pods, in the fuzzer's terms: status and the kernel's interfaces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from conformance.fuzz.seen import Seen, SeenAttachment, SeenInterface, SeenPod
from conformance.target import CannotObserveError, ClusterTarget
from multinet.model.objects import ANNOTATION_STATUS, Obj, annotations_of, name_of, namespace_of, section

#: Rules that the standard rests on, as far as status and kernel show them.
RULES_OF_THE_STANDARD = frozenset(
    {
        "default-network-first",
        "attached-as-selected",
        "requests-are-honoured",
        "status-tells-the-truth",
        "sidecars-are-unknown",
        "targets-agree",
    }
)
#: The same for who claims what Contrail's documents promise: which pods wait, and what networks give.
RULES_OF_CONTRAIL = RULES_OF_THE_STANDARD | {
    "refused-whole",
    "starts-once-it-can",
    "no-network-from-nowhere",
    "running-pods-are-immutable",
    "addresses-are-unique",
}


@dataclass(frozen=True, slots=True)
class Foreign:
    """The target's names for the fuzzer's namespaces, and back."""

    spaces: Mapping[str, str]

    def told(self, text: str) -> str:
        """A text of the target's with the fuzzer's namespaces in it."""
        for ours, theirs in self.spaces.items():
            text = text.replace(f"{theirs}/", f"{ours}/")
        return text


def look(pods: Iterable[Obj], target: ClusterTarget, foreign: Foreign, rules: frozenset[str]) -> Seen:
    """All pods in the namespaces of the fuzzer."""
    own = set(foreign.spaces.values())
    seen = [_pod(pod, target, foreign) for pod in pods if namespace_of(pod) in own]
    return of_pods(seen, rules)


def of_pods(pods: Iterable[SeenPod], rules: frozenset[str]) -> Seen:
    """What can be seen of a world where pods are all that is. An address is whose status has it first."""
    seen = {pod.key: pod for pod in pods}
    owners: dict[tuple[str, str], str] = {}
    for pod in seen.values():
        for item in pod.recorded:
            for ip in item.ips:
                owners.setdefault((item.network, ip), pod.key)
    return Seen(seen, owners=owners, judged=rules)


def _pod(pod: Obj, target: ClusterTarget, foreign: Foreign) -> SeenPod:
    status = section(pod, "status")
    running = status.get("phase") == "Running"
    text = foreign.told(annotations_of(pod).get(ANNOTATION_STATUS, ""))
    return SeenPod(
        key=foreign.told(f"{namespace_of(pod)}/{name_of(pod)}"),
        running=running,
        recorded=_recorded(text) if running else (),
        kernel=_kernel(target, namespace_of(pod), name_of(pod)) if running else (),
        status=text,
        pod_ips=tuple(item["ip"] for item in status.get("podIPs") or ()),
    )


def _recorded(text: str) -> tuple[SeenAttachment, ...]:
    """The status' entries, the default network's first; none of a status that can't be read."""
    try:
        entries: list[dict[str, Any]] = json.loads(text or "[]")
        default = [entry for entry in entries if entry.get("default")]
        others = [entry for entry in entries if not entry.get("default")]
        return tuple(_attachment(entry, is_default=entry in default) for entry in (*default, *others))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _attachment(entry: Mapping[str, Any], *, is_default: bool) -> SeenAttachment:
    name = str(entry["name"])
    return SeenAttachment(
        nad="" if is_default else name,
        network="default" if is_default else name,
        interface=str(entry["interface"]),
        mac=str(entry.get("mac", "")),
        ips=tuple(str(ip).partition("/")[0] for ip in entry.get("ips", ())),
    )


def _kernel(target: ClusterTarget, namespace: str, pod: str) -> tuple[SeenInterface, ...] | None:
    try:
        found = target.interfaces(namespace, pod)
    except CannotObserveError:
        return None
    return tuple(
        SeenInterface(
            one.interface,
            one.mac,
            tuple(ip for cidr in one.addresses if not ip_address(ip := cidr.partition("/")[0]).is_link_local),
        )
        for one in found
        if one.interface != "lo"
    )
