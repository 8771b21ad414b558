"""The step that breaks something, or mends it."""

from __future__ import annotations

import signal

from multinet.errors import LabError
from multinet.kube import resources
from multinet.model.objects import Obj, key_of, section, uid_of
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.threads import in_thread

_REBOOT_LIMIT_S = 30.0


async def fault(context: Context, step: LoadedStep) -> Result:
    """Apply the one fault of the step."""
    body, lab = step.step.fault, context.lab
    assert body is not None
    if body.link is not None:
        lab.set_link(body.link.node, body.link.state == "up")
        return Result(facts=(f"link of {body.link.node} is {body.link.state}",))
    if body.kill is not None:
        lab.kill(body.kill.role, body.kill.node, signal.Signals[f"SIG{body.kill.signal}"])
        return Result(facts=(f"sent SIG{body.kill.signal} to {body.kill.role} on {body.kill.node}",))
    if body.restart is not None:
        await in_thread(lab.restart, body.restart.role, body.restart.node)
        return Result(facts=(f"restarted {body.restart.role} on {body.restart.node}",))
    if body.reboot is not None:
        return await _reboot(context, step, body.reboot.node)
    assert body.netns is not None
    done = await in_thread(lab.exec, body.netns.node, body.netns.command)
    text = " ".join(body.netns.command)
    if done.status != 0:
        why = (done.stderr or done.stdout).strip()
        raise LabError(f"the fault could not be made: {text}", where=body.netns.node, why=why)
    return Result(facts=(f"ran {text} on {body.netns.node}",))


async def _reboot(context: Context, step: LoadedStep, node: str) -> Result:
    """Reboot, and wait until what the API says of the node's pods is no longer of the time before."""
    before = [
        pod for pod in context.cluster.all(resources.PODS) if section(pod, "spec").get("nodeName") == node
    ]
    await in_thread(context.lab.reboot, node)

    def seen() -> bool | None:
        return True if all(_is_new(pod, context.cluster.pod(key_of(pod))) for pod in before) else None

    name = f"the kubelet of {node} to take stock of its pods"
    await context.cluster.until(name, seen, _REBOOT_LIMIT_S, step=step.index, hint="see its log")
    return Result(facts=(f"rebooted {node} with {len(before)} pods",))


def _is_new(before: Obj, now: Obj | None) -> bool:
    """Whether no container is told to run which ran before the reboot."""
    if now is None or uid_of(now) != uid_of(before):
        return True
    ran = {item.get("containerID") for item in _running(before)}
    return not any(item.get("containerID") in ran for item in _running(now))


def _running(pod: Obj) -> list[Obj]:
    status = section(pod, "status")
    listed = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return [item for item in listed if "running" in (item.get("state") or {})]
