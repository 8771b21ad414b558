"""What is collected when a step fails: before anything is torn down, while it can still be asked.

Each piece is taken on its own, and one that can't be had says so in its place: a broken node must not hide
what the others show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from multinet.errors import MultinetError
from multinet.kube import resources
from multinet.model.objects import Obj, key_of, name_of, namespace_of, section
from scenarios.actions.reasons import told
from scenarios.cluster import is_ready
from scenarios.context import Context
from scenarios.threads import in_thread
from traffic.endpoint import Endpoint, inspect_all

_TAIL_LINES = 60
_TAIL_BYTES = 16_384
_DUMPS = (
    ("ip", "-d", "addr", "show"),
    ("ip", "route", "show", "table", "all"),
    ("bridge", "fdb", "show"),
)


async def collect(context: Context, step: int) -> None:
    """Emit all evidence of a failed step."""

    def tell(title: str, text: str) -> None:
        context.emit("evidence", {"step": step, "title": title, "text": text})

    for pod in context.cluster.all(resources.PODS):
        tell(f"pod {key_of(pod)}" + ("" if is_ready(pod) else " (not Ready)"), _describe(context, pod))
    tell("networks and interfaces in the API", "\n".join(_ours(context)))
    tell("interfaces in the pods (kernel)", "\n".join(_pod_interfaces(context)))
    for node in context.lab.nodes:
        tell(f"interfaces, routes and FDB of {node} (kernel)", await in_thread(_dump, context, node))
    for path in sorted((context.run_dir / "logs").glob("*.log")):
        tell(f"end of the log of {path.stem}", tail(path))


def _describe(context: Context, pod: Obj) -> str:
    shown = {
        "annotations": dict(section(pod, "metadata").get("annotations") or {}),
        "node": section(pod, "spec").get("nodeName"),
        "status": section(pod, "status"),
    }
    reasons = [f"{where}: {reason}: {message}" for where, reason, message in told(context.cluster, pod)]
    events = context.cluster.events_of(namespace_of(pod), name_of(pod))
    lines = [
        f"{event.get('type')} {event.get('reason')} x{event.get('count') or 1}: {event.get('message')}"
        for event in events
    ]
    text: str = yaml.safe_dump(shown, sort_keys=True, allow_unicode=True, width=110)
    return "\n".join([text, "Reasons:", *reasons, "", "Events:", *lines])


def _ours(context: Context) -> Iterator[str]:
    for resource in (
        resources.VIRTUAL_NETWORKS,
        resources.VIRTUAL_MACHINES,
        resources.VIRTUAL_MACHINE_INTERFACES,
    ):
        for obj in context.cluster.all(resource):
            body = {"spec": section(obj, "spec"), "status": section(obj, "status")}
            text = yaml.safe_dump(body, default_flow_style=True, width=10_000)
            yield f"{resource.kind} {key_of(obj)}: {' '.join(text.split())}"


def _pod_interfaces(context: Context) -> Iterator[str]:
    spaces = {f"{sandbox.namespace}/{sandbox.pod}": sandbox.netns for sandbox in context.lab.sandboxes()}
    for name, found in inspect_all(spaces).items():
        if isinstance(found, OSError):
            yield f"{name}: can't be read: {found.strerror}"
            continue
        yield from (_endpoint(endpoint) for endpoint in found)


def _endpoint(endpoint: Endpoint) -> str:
    state = "up" if endpoint.up and endpoint.running else "down"
    routes = ", ".join(f"{to} via {via}" if via else to for to, via in endpoint.routes)
    addresses = ", ".join(endpoint.addresses) or "no address"
    return f"{endpoint.label} {state} {endpoint.mac} mtu {endpoint.mtu}: {addresses}; routes: {routes}"


def _dump(context: Context, node: str) -> str:
    parts = []
    for argv in _DUMPS:
        try:
            done = context.lab.exec(node, argv, limit_s=5.0)
            parts.append(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
        except MultinetError as error:
            parts.append(f"$ {' '.join(argv)}\ncould not run: {error}")
    return "\n".join(parts)


def tail(path: Path) -> str:
    """The last lines of a log file."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
