"""The step that breaks something, or mends it."""

from __future__ import annotations

import signal

from multinet.errors import LabError
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.threads import in_thread


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
    assert body.netns is not None
    done = await in_thread(lab.exec, body.netns.node, body.netns.command)
    text = " ".join(body.netns.command)
    if done.status != 0:
        why = (done.stderr or done.stdout).strip()
        raise LabError(f"the fault could not be made: {text}", where=body.netns.node, why=why)
    return Result(facts=(f"ran {text} on {body.netns.node}",))
