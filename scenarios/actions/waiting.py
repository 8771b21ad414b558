"""The step that waits until pods, networks or roles are in a state."""

from __future__ import annotations

from collections.abc import Callable

from multinet.errors import WaitExpiredError
from multinet.kube import resources
from multinet.model import conditions
from multinet.model.objects import Obj, annotations_of, section
from scenarios.actions.reasons import why_pending
from scenarios.cluster import is_ready, phase_of
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.schema import Wait, split
from scenarios.threads import in_thread

NAD_ANNOTATION = "multinet.opencontrail.org/nad"
CIDR_ANNOTATION = "opencontrail.org/cidr"


async def wait(context: Context, step: LoadedStep) -> Result:
    """Wait for all that the step names; the reason of a time-out names what is missing and why."""
    body = step.step.wait
    assert body is not None
    missing = _missing(context, body)
    text = f"{_subject(body)} to be {body.until}"
    for role in body.roles or ():
        await in_thread(context.lab.wait_role, role, "cp", body.timeout)
    try:
        await context.cluster.until(
            text, lambda: True if not missing() else None, body.timeout, step=step.index
        )
    except WaitExpiredError as error:
        lacking = missing()
        raise WaitExpiredError(
            error.what, why="; ".join(lacking), next_step="the evidence below has the events and logs"
        ) from error
    return Result(facts=(f"{_subject(body)}: {body.until}",))


def _subject(body: Wait) -> str:
    parts = []
    if body.pods is not None:
        parts.append("all pods" if body.pods == "all" else f"pods {', '.join(body.pods)}")
    if body.networks:
        parts.append(f"networks {', '.join(body.networks)}")
    if body.virtual_networks:
        parts.append(f"virtual networks {', '.join(body.virtual_networks)}")
    if body.roles:
        parts.append(f"roles {', '.join(body.roles)}")
    return " and ".join(parts)


def _missing(context: Context, body: Wait) -> Callable[[], list[str]]:
    """A question: what is not yet as wanted, each with the reason."""

    def ask() -> list[str]:
        found = [text for key in _pods(context, body) if (text := _pod_lacks(context, key, body.until))]
        found += [text for name in body.networks or () if (text := _nad_lacks(context, name, body.until))]
        store = context.cluster.objects(resources.VIRTUAL_NETWORKS)
        found += [
            text
            for name in body.virtual_networks or ()
            if (text := _network_lacks(f"VirtualNetwork {name}", store.get(name), body.until))
        ]
        return found

    return ask


def _pods(context: Context, body: Wait) -> list[str]:
    if body.pods == "all":
        return sorted(context.cluster.objects(resources.PODS))
    return ["/".join(split(name)) for name in body.pods or ()]


def _pod_lacks(context: Context, key: str, until: str) -> str:
    pod = context.cluster.pod(key)
    if until == "Gone":
        return f"pod {key} is still there" if pod is not None else ""
    if pod is None:
        return f"there is no pod {key}"
    reached = {
        "Ready": is_ready(pod),
        "Running": phase_of(pod) == "Running",
        "Scheduled": bool(section(pod, "spec").get("nodeName")),
    }[until]
    return "" if reached else f"pod {key} is {phase_of(pod)}{why_pending(context.cluster, pod)}"


def _nad_lacks(context: Context, name: str, until: str) -> str:
    key = "/".join(split(name))
    networks = context.cluster.all(resources.VIRTUAL_NETWORKS)
    own = next((one for one in networks if annotations_of(one).get(NAD_ANNOTATION) == key), None)
    if until == "Gone":
        return f"the network of NAD {key} is still there" if own is not None else ""
    nad = context.cluster.objects(resources.NADS).get(key)
    if nad is None:
        return f"there is no NAD {key}"
    if own is None and CIDR_ANNOTATION not in annotations_of(nad):
        return ""  # it maps to a network made elsewhere, or to none: there is nothing to become ready
    return _network_lacks(f"the network of NAD {key}", own, until)


def _network_lacks(name: str, network: Obj | None, until: str) -> str:
    if until == "Gone":
        return f"{name} is still there" if network is not None else ""
    if network is None:
        return f"{name} does not exist yet"
    ready = conditions.find(network, "Ready")
    if ready is not None and ready.is_true:
        return ""
    return f"{name} is not Ready" + (f": {ready.reason}: {ready.message}" if ready is not None else "")
