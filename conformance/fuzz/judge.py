"""Compares what was seen with the model, rule by rule. A rule's name is what reports and files call it.

Each rule states a documented rule or limitation of multi-net, or a row of the standard; :data:`RULES` says
which.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.fuzz.model import Held, Model, Pod
from conformance.fuzz.seen import Seen, SeenAttachment, SeenPod

RULES = {
    "default-network-first": "documented: every pod has the default network as its first interface (NPWG 6)",
    "attached-as-selected": "one interface for each selection, in its order (NPWG 4.1, 4.2)",
    "refused-whole": "a pod that can't have all its networks has none, and nothing is left of it (NPWG 7.2)",
    "starts-once-it-can": "a pod that has no reason to wait is attached (documented: the NAD makes it so)",
    "no-network-from-nowhere": "nothing is attached that the selection or the NADs don't allow (NPWG 7.2)",
    "running-pods-are-immutable": "documented: networks are not added to or removed from a running pod",
    "addresses-are-unique": "an address of a network belongs to one interface (documented: IPAM)",
    "requests-are-honoured": "requested address, MAC and name are given exactly (NPWG 4.1.2.1.3 to 5)",
    "status-tells-the-truth": "network-status has an entry per attachment, as the kernel has it (NPWG 5)",
    "sidecars-are-unknown": "documented: Kubernetes knows the default network's addresses only (NPWG 4-a)",
    "networks-follow-nads": "documented: a NAD creates its network; in use it stays as it is until unused",
    "nothing-is-left": "what is deleted leaves no object, address or device",
    "comes-to-rest": "when nothing happens any more, nothing is done any more (level-triggered control)",
    "fails-as-foreseen": "every error has an answer: a refusal, an Event, a condition, a new try (NPWG 7.2)",
    "forwarding-is-current": "each node knows where each member of a network is, and no other",
    "targets-agree": "two worlds in which the same is done differ only as a decision or a row explains",
}
#: What may still come: a bad connection delays it, and so does a world that can't be told to be at rest.
IN_TIME = frozenset(
    {
        "starts-once-it-can",
        "refused-whole",
        "networks-follow-nads",
        "nothing-is-left",
        "forwarding-is-current",
        "status-tells-the-truth",
    }
)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold, and what shows it."""

    rule: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.evidence}\n  ({RULES[self.rule]})"


def judge(model: Model, seen: Seen) -> list[Violation]:
    """All rules over one observation. Attachments that are new and right are taken into the model.

    While the controller's connection is bad, what is missing may still come: then only what is there and
    must not be is judged.
    """
    found: list[Violation] = []
    for pod in list(model.pods.values()):
        if pod.key in seen.pods:
            continue
        if pod.ending:
            del model.pods[pod.key]
        else:
            found.append(Violation("starts-once-it-can", f"{pod.key} is not there any more"))
    present = [(pod, seen.pods[pod.key]) for pod in model.pods.values() if pod.key in seen.pods]
    # Decisions first: who waits may wait for what another pod has got in the same moment.
    for pod, there in present:
        if pod.held is None and there.recorded:
            found += _decide(model, pod, there)
    for pod, there in present:
        found += _pod(model, pod, there)
    model.settle()
    found += _world(model, seen)
    if seen.judged is not None:
        found = [item for item in found if item.rule in seen.judged]
    return [item for item in found if not (model.unsettled and item.rule in IN_TIME)]


def unfinished(there: SeenPod) -> bool:
    """Whether a pod that runs is not (yet) attached as was recorded, or its status does not say so."""
    return any(_attached(there, visible=True))


def _pod(model: Model, pod: Pod, there: SeenPod) -> Iterator[Violation]:
    if not there.recorded:
        if pod.held is not None:
            yield Violation("running-pods-are-immutable", f"{pod.key} had {pod.held}, it has nothing")
        elif not pod.ending and not (reason := model.blocker(pod)):
            yield Violation("starts-once-it-can", f"{pod.key} waits, and nothing stands in its way")
        elif there.kernel:
            yield Violation("refused-whole", f"{pod.key} waits ({reason}) and has {_names(there)}")
        return
    if there.status not in ("", "[]") and not there.running and not pod.ran:
        yield Violation("status-tells-the-truth", f"{pod.key} never ran and has a status: {there.status}")
    pod.ran = pod.ran or there.running
    if pod.held is not None:
        now = tuple((item.nad, item.interface, item.ips, item.mac) for item in there.recorded[1:])
        before = tuple((item.nad, item.interface, item.ips, item.mac) for item in pod.held)
        if now != before:
            yield Violation("running-pods-are-immutable", f"{pod.key} had {before}, it has {now}")
    if there.running:
        yield from _attached(there, visible=not model.waits_for_node(pod))
    elif not pod.ending and not model.waits_for_node(pod):
        yield Violation("starts-once-it-can", f"{pod.key} waits, and nothing stands in its way")


def _decide(model: Model, pod: Pod, there: SeenPod) -> Iterator[Violation]:
    """Judge the attachments that a pod has got: they must be allowed, and those it selects."""
    reason = model.blocker(pod)
    if reason:
        yield Violation("no-network-from-nowhere", f"{pod.key} is attached although {reason}")
    if [item.nad for item in there.recorded[1:]] == [pick.nad for pick in pod.picks]:
        yield from _requests(pod, there)
    elif pod.valid:
        wanted = ", ".join(pick.nad for pick in pod.picks) or "nothing"
        yield Violation(
            "attached-as-selected", f"{pod.key} selects {wanted}; it has {_listed(there.recorded)}"
        )
    pod.held = tuple(
        Held(item.nad, model.network_of(item.nad) or item.network, item.interface, item.ips, item.mac)
        for item in there.recorded[1:]
    )


def _requests(pod: Pod, there: SeenPod) -> Iterator[Violation]:
    for pick, item in zip(pod.picks, there.recorded[1:], strict=True):
        asked = (pick.interface, pick.ip, pick.mac)
        given = (
            pick.interface and item.interface,
            pick.ip if pick.ip in item.ips else "",
            pick.mac and item.mac,
        )
        if asked != given:
            yield Violation("requests-are-honoured", f"{pod.key} asks {pick}; it has {item}")


def _attached(there: SeenPod, *, visible: bool) -> Iterator[Violation]:
    recorded, kernel = there.recorded, there.kernel
    if not recorded or recorded[0].nad or recorded[0].interface != "eth0":
        yield Violation("default-network-first", f"{there.key} has {_listed(recorded)}")
        return
    # A node that is cut off or refuses devices can't attach again what a reboot took.
    if kernel is not None and visible:
        told = sorted((item.interface, item.mac, tuple(sorted(item.ips))) for item in recorded)
        real = sorted((item.name, item.mac, tuple(sorted(item.ips))) for item in kernel)
        if told != real:
            yield Violation("attached-as-selected", f"{there.key}: recorded {told}, in its namespace {real}")
    # A pod whose node can't attach it again has no address meanwhile, as with a real kubelet.
    if set(there.pod_ips) != set(recorded[0].ips) and (visible or there.pod_ips):
        yield Violation(
            "sidecars-are-unknown", f"{there.key}: podIPs {there.pod_ips}, eth0 {recorded[0].ips}"
        )
    problem = _status(there)
    if problem:
        yield Violation("status-tells-the-truth", f"{there.key}: {problem}")


def _status(there: SeenPod) -> str:
    """What is wrong with network-status, by the default dialect's form."""
    try:
        told, defaults, names = _read_status(there.status)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it can't be read ({error!r}): {there.status[:200]}"
    real = [(item.interface, item.mac, item.ips) for item in there.recorded]
    if told != real:
        return f"it says {told}, there is {real}"
    if defaults != 1:
        return f"{defaults} entries are the default"
    nads = [item.nad for item in there.recorded[1:]]
    return "" if names[1:] == nads else f"it names {names[1:]}, attached are {nads}"


# What a pod says is looked at after each step as long as it lives.
@functools.lru_cache(maxsize=64)
def _read_status(text: str) -> tuple[list[tuple[str, str, tuple[str, ...]]], int, list[str]]:
    """What each entry tells (interface, MAC, addresses), how many are the default, and their names."""
    entries = json.loads(text)
    told = [
        (entry["interface"], entry["mac"], tuple(ip.partition("/")[0] for ip in entry["ips"]))
        for entry in entries
    ]
    defaults = sum(entry.get("default") is True for entry in entries)
    return told, defaults, [entry["name"] for entry in entries]


def _world(model: Model, seen: Seen) -> Iterator[Violation]:
    wanted = {key: _blocks(cidr) for key, cidr in model.made.items()}
    there = {key: _blocks(cidr) for key, cidr in seen.networks.items()}
    if wanted != there:
        yield Violation("networks-follow-nads", f"there must be {wanted}, there is {there}")
    used: dict[tuple[str, str], str] = {}
    for pod in seen.pods.values():
        for item in pod.recorded:
            for ip in item.ips:
                other = used.setdefault((item.network, ip), f"{pod.key} {item.interface}")
                if other != f"{pod.key} {item.interface}":
                    yield Violation("addresses-are-unique", f"{ip} of {item.network}: {other} and {pod.key}")
                if seen.owners.get((item.network, ip)) != pod.key:
                    owner = seen.owners.get((item.network, ip), "nobody")
                    yield Violation(
                        "addresses-are-unique", f"{pod.key} has {ip} of {item.network}, it belongs to {owner}"
                    )
    for place, owner in seen.owners.items():
        if owner in seen.pods and place not in used:
            yield Violation("nothing-is-left", f"{owner} owns {place[1]} of {place[0]} and does not have it")
    for text in seen.leftovers:
        yield Violation("nothing-is-left", text)
    for text in seen.misled:
        yield Violation("forwarding-is-current", text)
    for text in seen.differs:
        yield Violation("targets-agree", text)
    default = {ip for pod in seen.pods.values() for ip in pod.pod_ips}
    for address in seen.services:
        if address not in default:
            yield Violation("sidecars-are-unknown", f"an endpoint has the address {address}")


def _blocks(cidr: str) -> tuple[str, ...]:
    return tuple(block.strip() for block in cidr.split(","))


def _names(pod: SeenPod) -> str:
    return ", ".join(item.name for item in pod.kernel or ())


def _listed(recorded: tuple[SeenAttachment, ...]) -> str:
    return ", ".join(f"{item.interface}={item.nad or item.network}" for item in recorded) or "nothing"
