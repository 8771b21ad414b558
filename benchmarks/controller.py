"""What a pod costs the controller: from its creation in the API to "its interfaces are known".

Usage: ``.venv/bin/python benchmarks/controller.py [--pods 100,1000] [--networks 4]``

A real API server and a real controller, each a process, speak HTTPS on loopback, as in a lab; nobody
attaches anything (the node agent's part is measured elsewhere). Pods with four networks each come in bursts
of 100, the next burst when the last is done. A pod is done when a watch of VirtualMachines shows
``Resolved=True``; its latency counts from the answer to its creation. All three processes and this one
share the machine, so the creations themselves are part of what the API server has to do.

* ``per_pod_ms``: wall-clock time of all bursts divided by the number of pods;
* ``p99_ms``: 99th percentile of the latencies;
* ``rss_mb``: the controller's resident memory with that many pods attached.

Last line: one JSON object with a value per total of pods.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from multinet.errors import MultinetError
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.resources import NADS, NAMESPACES, PODS, VIRTUAL_MACHINES, VIRTUAL_NETWORKS
from multinet.model.conditions import RESOLVED, find
from multinet.model.objects import Obj, section
from multinet.waits import pause, wait_for

BURST = 100
_START_LIMIT_S = 10.0
_BURST_LIMIT_S = 120.0


@dataclass(frozen=True)
class Figures:
    """One total: milliseconds, milliseconds, megabytes."""

    pods: int
    per_pod_ms: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    cpu_ms: float
    api_cpu_ms: float


@contextmanager
def processes(directory: Path) -> Iterator[tuple[Path, int, int]]:
    """An API server and a controller; yields the kubeconfig and the two process ids."""
    kubeconfig = directory / "kubeconfig"
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, *options: str) -> int:
        log = (directory / f"{module}.log").open("wb")
        started.append(subprocess.Popen([sys.executable, "-m", module, *options], stderr=log, stdout=log))
        return started[-1].pid

    try:
        api = start(
            "multinet.apiserver.main",
            *("--listen", "127.0.0.1:0", "--pki-dir", str(directory), "--kubeconfig", str(kubeconfig)),
        )
        _until_file(kubeconfig)
        controller = start("multinet.controller.main", "--kubeconfig", str(kubeconfig))
        yield kubeconfig, controller, api
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _until_file(path: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise SystemExit("the API server did not start")
        asyncio.run(pause("the kubeconfig", 0.02))


def nad(name: str, cidr: str) -> Obj:
    """A NAD that makes a network."""
    annotations = {"opencontrail.org/cidr": cidr}
    return {
        "apiVersion": NADS.api_version,
        "kind": NADS.kind,
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
    }


def pod(name: str, networks: str) -> Obj:
    """A pod, already bound to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/networks": networks},
        },
        "spec": {"nodeName": f"node{hash(name) % 2 + 1}", "containers": [{"name": "c", "image": "none"}]},
    }


class Stopwatch:
    """Notes when each pod was created and when its VirtualMachine was resolved."""

    def __init__(self) -> None:
        self.created: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self._changed = asyncio.Event()

    def machine(self, _old: Obj | None, new: Obj | None) -> None:
        """Informer callback."""
        if new is None:
            return
        name = str((section(new, "spec").get("pod") or {}).get("name"))
        condition = find(new, RESOLVED)
        if condition is not None and condition.is_true and name not in self.done:
            self.done[name] = time.perf_counter()
            self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until that many pods are done."""
        while len(self.done) < count:
            self._changed.clear()
            await self._changed.wait()


def usage_of(pid: int) -> tuple[float, float]:
    """Resident memory in MB and CPU time in seconds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, ticks / os.sysconf("SC_CLK_TCK")


async def ready(client: Client) -> None:
    """Wait until the API answers."""

    async def asked() -> None:
        while True:
            try:
                await client.list(NAMESPACES)
            except MultinetError:
                await pause("the API", 0.05)
            else:
                return

    await wait_for("the API", asked(), _START_LIMIT_S)


async def measure(kubeconfig: Path, controller: int, api: int, total: int, networks: int) -> Figures:
    """Attach ``total`` pods in bursts."""
    async with Client(load_kubeconfig(kubeconfig)) as client:
        await ready(client)
        stopwatch = Stopwatch()
        machines = Informer(client, VIRTUAL_MACHINES)
        machines.on_change(stopwatch.machine)
        made = Informer(client, VIRTUAL_NETWORKS)
        tasks = [asyncio.create_task(informer.run()) for informer in (machines, made)]
        for number in range(networks):
            await client.create(NADS, nad(f"n{number}", f"10.{100 + number}.0.0/16"))
        await made.wait_until("all networks", lambda store: len(store) == networks + 1, _START_LIMIT_S)
        selection = ",".join(f"n{number}" for number in range(networks))
        _, cpu = usage_of(controller)
        _, api_cpu = usage_of(api)
        begun = time.perf_counter()

        async def create(name: str) -> None:
            await client.create(PODS, pod(name, selection))
            stopwatch.created[name] = time.perf_counter()

        for start in range(0, total, BURST):
            names = [f"p{number}" for number in range(start, min(total, start + BURST))]
            await asyncio.gather(*map(create, names))
            await wait_for("a burst", stopwatch.until(start + len(names)), _BURST_LIMIT_S)
        took = time.perf_counter() - begun
        rss, cpu_after = usage_of(controller)
        _, api_after = usage_of(api)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    late = sorted(1000 * (stopwatch.done[name] - at) for name, at in stopwatch.created.items())
    return Figures(
        pods=total,
        per_pod_ms=1000 * took / total,
        p50_ms=statistics.median(late),
        p99_ms=late[min(len(late) - 1, int(len(late) * 0.99))],
        rss_mb=rss,
        cpu_ms=1000 * (cpu_after - cpu) / total,
        api_cpu_ms=1000 * (api_after - api_cpu) / total,
    )


def main() -> int:
    """Measure each total in processes of its own, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pods", default="100,1000", help="totals of pods (default: %(default)s)")
    parser.add_argument("--networks", type=int, default=4, help="networks per pod (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs per total; medians count")
    options = parser.parse_args()
    results: list[Figures] = []
    for total in map(int, options.pods.split(",")):
        runs = []
        for _ in range(options.repeat):
            with tempfile.TemporaryDirectory() as directory, processes(Path(directory)) as (config, own, api):
                runs.append(uvloop.run(measure(config, own, api, total, options.networks)))
        runs.sort(key=lambda run: run.per_pod_ms)
        results.append(runs[len(runs) // 2])
    table = Table(title=f"Controller: pods with {options.networks} networks, bursts of {BURST}")
    for column in ("pods", "ms per pod", "p50 ms", "p99 ms", "RSS MB", "CPU ms/pod", "API CPU ms/pod"):
        table.add_column(column, justify="right")
    for each in results:
        numbers = (each.per_pod_ms, each.p50_ms, each.p99_ms, each.rss_mb, each.cpu_ms, each.api_cpu_ms)
        table.add_row(str(each.pods), *(f"{number:.1f}" for number in numbers))
    Console().print(table)
    print(
        json.dumps(
            {
                "pods": [each.pods for each in results],
                "per_pod_ms": [round(each.per_pod_ms, 2) for each in results],
                "p99_ms": [round(each.p99_ms, 1) for each in results],
                "rss_mb": [round(each.rss_mb, 1) for each in results],
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
