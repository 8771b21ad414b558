"""The workload controllers as a process: ``python -m multinet.workloads.main --kubeconfig FILE``.

A cluster with a kube-controller-manager of its own does not need it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from multinet.kube import notify, process
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.workloads.controllers import Workloads
from multinet.workloads.services import ServiceController

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run until SIGTERM; 0 at a clean end, 1 when it could not start."""
    process.log_to_stderr()
    parser = argparse.ArgumentParser(prog="multinet-workloads", description="controllers of workloads")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    options = parser.parse_args(argv)
    return process.run(run(options.kubeconfig))


async def run(kubeconfig: Path) -> None:
    """Run all controllers in this event loop until SIGTERM."""
    stop = process.stop_signals()
    async with Client(load_kubeconfig(kubeconfig)) as client, asyncio.TaskGroup() as group:
        services, pods = asyncio.Event(), asyncio.Event()
        workloads = Workloads(client)
        running = [
            group.create_task(ServiceController(client).run(services), name="services"),
            group.create_task(workloads.run(pods), name="workloads"),
            group.create_task(_announce(services, pods), name="readiness"),
        ]
        await stop.wait()
        for task in running:
            task.cancel()
        await workloads.cluster.recorder.flush()


async def _announce(*ready: asyncio.Event) -> None:
    for event in ready:
        await event.wait()
    notify.ready()
    _log.info("the workload controllers work")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
