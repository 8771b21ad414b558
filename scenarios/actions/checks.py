"""The step that checks attachments: expectation, annotation and kernel must agree, three ways.

Every value is a row in the report, also where all three agree, so that a pass shows what it rests on.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from multinet.errors import InputError
from multinet.kube import resources
from multinet.model.objects import Obj, annotations_of, section
from multinet.model.status import NetworkStatus, decode
from multinet.waits import pause
from reports.model import AttachmentRow
from reports.verdicts import Verdict
from scenarios.actions.reasons import told
from scenarios.cluster import phase_of
from scenarios.context import Context, Result, Snapshot
from scenarios.loader import LoadedStep
from scenarios.schema import Check, Pending, split
from topology.expectation import ExpectedInterface, ExpectedPod
from traffic.endpoint import Endpoint, inspect_all

STATUS = "k8s.v1.cni.cncf.io/network-status"
_STATUS_LIMIT_S = 5.0
# How long a change that must not happen is given to show itself; a controller reacts within milliseconds.
_SETTLE_S = 0.3
_SHOWN = 3
_YES = {True: "yes", False: "no"}


async def check(context: Context, step: LoadedStep) -> Result:
    """Check what the step names; the reason tells the first rows that disagree."""
    body = step.step.check
    assert body is not None
    facts: list[str] = []
    for pending in body.pending or ():
        result = await _pending(context, step, pending)
        if result.verdict is not Verdict.PASS:
            return result
        facts += result.facts
    if body.pending and body.pods is None and not body.unchanged and not body.attachments:
        return Result(facts=tuple(facts))
    rows = await _rows(context, step, body)
    for row in rows:
        context.tell("attachment", step, **_plain(row))
    wrong = [row for row in rows if row.verdict is Verdict.FAIL]
    facts.append(f"{len(rows)} values of {len({(row.pod, row.interface) for row in rows})} places compared")
    if not wrong:
        return Result(facts=tuple(facts))
    shown = "; ".join(_told(row) for row in wrong[:_SHOWN])
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    reason = f"{len(wrong)} of {len(rows)} values disagree: {shown}{more}"
    return Result(Verdict.FAIL, reason, facts=tuple(facts))


# What only one of the two can know; the other's silence is no finding.
_NOT_IN_KERNEL = frozenset({"network", "default", "networks after the first"})
_NOT_IN_ANNOTATION = frozenset({"default route", "state"})


def _told(row: AttachmentRow) -> str:
    where = " ".join(filter(None, (row.pod, row.interface, row.field)))
    text = f"{where}: expected {row.expected or 'nothing'}"
    if row.annotation or row.field not in _NOT_IN_ANNOTATION:
        text += f", annotation {row.annotation or 'nothing'}"
    if row.kernel or row.field not in _NOT_IN_KERNEL:
        text += f", kernel {row.kernel or 'nothing'}"
    return text + (f" ({row.detail})" if row.detail else "")


def _plain(row: AttachmentRow) -> dict[str, str]:
    return {item.name: str(getattr(row, item.name)) for item in dataclasses.fields(row)}


async def _rows(context: Context, step: LoadedStep, body: Check) -> list[AttachmentRow]:
    if body.unchanged:
        await pause("a window in which a wrong change would show", _SETTLE_S)
    chosen = body.pods if body.pods is not None else list(body.attachments or ()) or "all"
    pods = context.chosen_pods(chosen)
    statuses = await _statuses(context, step, [pod for pod in pods if pod.annotated])
    spaces = context.sandboxes()
    kernel = inspect_all({pod.pod: spaces[pod.pod] for pod in pods if pod.pod in spaces})
    rows: list[AttachmentRow] = []
    if chosen != "all":
        there = {pod.pod for pod in pods}
        rows += [
            _row(name, "", "pod", "attached", "", "", ok=False, detail="it is not there, or not on a node")
            for name in ("/".join(split(one)) for one in chosen)
            if name not in there
        ]
    for pod in pods:
        found = kernel.get(pod.pod, [])
        has = found if isinstance(found, list) else []
        if pod.annotated:
            rows += _pod_rows(pod, statuses.get(pod.pod), has)
        else:
            rows += _plain_rows(pod, context.cluster.objects(resources.PODS).get(pod.pod, {}), has)
    rows += _named(body.attachments or {}, statuses)
    rows += _shared_addresses(rows, pods)
    before, context.snapshot = context.snapshot, _snapshot(rows)
    if body.unchanged:
        rows += _changes(before, context.snapshot, {pod.pod for pod in pods})
    return rows


async def _statuses(
    context: Context, step: LoadedStep, pods: Sequence[ExpectedPod]
) -> Mapping[str, tuple[NetworkStatus, ...] | InputError]:
    """The annotation of each pod; the local copy of the API may be a moment behind the kernel."""

    def all_there() -> bool | None:
        store = context.cluster.objects(resources.PODS)
        return True if all(STATUS in annotations_of(store.get(pod.pod, {})) for pod in pods) else None

    await context.cluster.until(
        "network-status on every checked pod", all_there, _STATUS_LIMIT_S, step=step.index
    )
    found: dict[str, tuple[NetworkStatus, ...] | InputError] = {}
    for pod in pods:
        text = annotations_of(context.cluster.objects(resources.PODS)[pod.pod])[STATUS]
        try:
            found[pod.pod] = decode(text)
        except InputError as error:
            found[pod.pod] = error
    return found


def _row(
    pod: str, interface: str, field: str, expected: str, said: str, has: str, *, ok: bool, detail: str = ""
) -> AttachmentRow:
    return AttachmentRow(
        pod, interface, field, expected, said, has, Verdict.PASS if ok else Verdict.FAIL, detail
    )


def _pod_rows(
    pod: ExpectedPod, status: tuple[NetworkStatus, ...] | InputError | None, kernel: Sequence[Endpoint]
) -> Iterator[AttachmentRow]:
    if not isinstance(status, tuple):
        yield _row(pod.pod, "", "annotation", "a list", str(status or ""), "", ok=False)
        return
    wanted = [item.interface for item in pod.interfaces]
    said = [entry.interface for entry in status]
    has = [endpoint.interface for endpoint in kernel]
    agree = wanted == said and sorted(wanted) == sorted(has)
    yield _row(pod.pod, "", "interfaces", *(", ".join(names) for names in (wanted, said, has)), ok=agree)
    entries = {entry.interface: entry for entry in status}
    endpoints = {endpoint.interface: endpoint for endpoint in kernel}
    for item in pod.interfaces:
        yield from _interface_rows(pod.pod, item, entries.get(item.interface), endpoints.get(item.interface))


def _plain_rows(pod: ExpectedPod, told: Obj, kernel: Sequence[Endpoint]) -> Iterator[AttachmentRow]:
    """A pod whose network another plugin made, without annotation: ``status.podIPs`` is what it says."""
    said = sorted(str(item.get("ip")) for item in section(told, "status").get("podIPs") or ())
    wanted, has = ([item.interface for item in each] for each in (pod.interfaces, kernel))
    agree = sorted(wanted) == sorted(has)
    yield _row(pod.pod, "", "interfaces", ", ".join(wanted), "", ", ".join(has), ok=agree)
    for item in pod.interfaces:
        endpoint = next((each for each in kernel if each.interface == item.interface), None)
        found = [address for address in endpoint.addresses if not _is_link_local(address)] if endpoint else []
        same = bool(found) and sorted(address.partition("/")[0] for address in found) == said
        detail = "" if same else "status.podIPs and kernel differ" if found else "it has no address"
        shown = ", ".join(said), ", ".join(found)
        yield _row(pod.pod, item.interface, "addresses", "any", *shown, ok=same, detail=detail)
        up = endpoint is not None and endpoint.up and endpoint.running
        yield _row(pod.pod, item.interface, "state", "up", "", "up" if up else "down", ok=up)


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_interface(address).ip.is_link_local


def _interface_rows(
    pod: str, item: ExpectedInterface, entry: NetworkStatus | None, endpoint: Endpoint | None
) -> Iterator[AttachmentRow]:
    name = item.interface
    said_name = entry.name if entry else ""
    yield _row(pod, name, "network", item.status_name, said_name, "", ok=said_name == item.status_name)
    said_mac, has_mac = entry.mac if entry else "", endpoint.mac if endpoint else ""
    same = item.mac.lower() == said_mac.lower() == has_mac.lower()
    yield _row(pod, name, "MAC", item.mac, said_mac, has_mac, ok=same)
    yield _addresses(pod, item, entry, endpoint)
    first, said_default = item.index == 0, entry is not None and entry.default
    yield _row(pod, name, "default", _YES[first], _YES[said_default], "", ok=first == said_default)
    # Another attachment may have asked for it (NPWG 4.1.2.1.9), so this is not the same as being the first.
    carries, has_route = item.carries_default_route, endpoint is not None and bool(endpoint.gateways)
    yield _row(pod, name, "default route", _YES[carries], "", _YES[has_route], ok=carries == has_route)
    up = endpoint is not None and endpoint.up and endpoint.running
    yield _row(pod, name, "state", "up", "", "up" if up else "down" if endpoint else "", ok=up)


def _addresses(
    pod: str, item: ExpectedInterface, entry: NetworkStatus | None, endpoint: Endpoint | None
) -> AttachmentRow:
    """An address of each subnet, with the subnet's prefix, the same in annotation and kernel."""
    subnets = [ipaddress.ip_network(subnet) for subnet in item.subnets]
    has = [
        address
        for address in map(ipaddress.ip_interface, endpoint.addresses if endpoint else ())
        if not address.ip.is_link_local
    ]
    said = sorted(entry.ips) if entry else []
    problems = []
    if sorted(str(address.ip) for address in has) != said:
        problems.append("annotation and kernel differ")
    for subnet in subnets:
        if sum(address.network == subnet for address in has) != 1:
            problems.append(f"not one address of {subnet}")
    if len(has) > len(subnets):
        problems.append("more addresses than subnets")
    return _row(
        pod,
        item.interface,
        "addresses",
        " and ".join(f"one of {subnet}" for subnet in subnets),
        ", ".join(said),
        ", ".join(str(address) for address in has),
        ok=not problems,
        detail=", ".join(problems),
    )


def _named(
    attachments: Mapping[str, list[str]], statuses: Mapping[str, tuple[NetworkStatus, ...] | InputError]
) -> Iterator[AttachmentRow]:
    """What the scenario itself says about the order of networks, beside the annotation."""
    for name, networks in attachments.items():
        pod = "/".join(split(name))
        status = statuses.get(pod)
        said = [entry.name for entry in status[1:]] if isinstance(status, tuple) else []
        wanted = ["/".join(split(network)) for network in networks]
        yield _row(
            pod, "", "networks after the first", ", ".join(wanted), ", ".join(said), "", ok=wanted == said
        )


def _shared_addresses(rows: Iterable[AttachmentRow], pods: Iterable[ExpectedPod]) -> list[AttachmentRow]:
    """An address that two interfaces of one network have."""
    network = {(pod.pod, item.interface): item.network for pod in pods for item in pod.interfaces}
    owner: dict[tuple[str, str], AttachmentRow] = {}
    found = []
    for row in rows:
        if row.field != "addresses":
            continue
        for address in filter(None, row.kernel.split(", ")):
            key = (network[row.pod, row.interface], address)
            other = owner.setdefault(key, row)
            if other is not row:
                detail = f"{other.pod} {other.interface} has it too"
                found.append(
                    _row(row.pod, row.interface, "one owner", "", "", address, ok=False, detail=detail)
                )
    return found


def _snapshot(rows: Iterable[AttachmentRow]) -> Snapshot:
    return {
        (row.pod, row.interface, row.field): f"annotation {row.annotation!r}, kernel {row.kernel!r}"
        for row in rows
    }


def _changes(before: Snapshot, now: Snapshot, pods: set[str]) -> Iterator[AttachmentRow]:
    if not before:
        yield _row("", "", "unchanged", "an earlier check", "", "", ok=False, detail="there was none")
        return
    for key in sorted({*before, *now}):
        pod, interface, field = key
        if pod in pods and before.get(key) != now.get(key) and field != "networks after the first":
            was, is_now = before.get(key, "absent"), now.get(key, "absent")
            yield _row(pod, interface, f"{field} unchanged", was, "", "", ok=False, detail=f"now {is_now}")


async def _pending(context: Context, step: LoadedStep, body: Pending) -> Result:
    """The pod stays Pending, and whoever looks is told why."""
    key = "/".join(split(body.pod))

    def refused() -> str | None:
        pod = context.cluster.pod(key)
        if pod is None:
            return None
        for where, reason, message in told(context.cluster, pod):
            named = body.reason is None or body.reason == reason or body.reason in message
            if named and (body.message is None or body.message in message):
                return f"{where} says {reason}: {message}"
        return None

    wanted = " ".join(filter(None, [body.reason, body.message and f"with the text {body.message!r}"]))
    text = await context.cluster.until(
        f"pod {key} to be refused {wanted}".rstrip(), refused, body.timeout, step=step.index
    )
    pod = context.cluster.pod(key)
    phase = phase_of(pod) if pod is not None else "gone"
    if phase != "Pending":
        return Result(Verdict.FAIL, f"pod {key} is {phase}, not Pending, although {text}")
    return Result(facts=(f"pod {key} is Pending: {text}",))
