"""From "pod created in the API" to Running with its network-status: alone, in bursts, by the hundred.

Usage: ``.venv/bin/python benchmarks/pod_start.py [--singles 21] [--bursts 3] [--pods 500] [--networks 4]``

Everything is real: a lab of two nodes with API server, controller, scheduler, kubelets, node agents and the
CNI plugin. A pod names no node and selects four networks (so it has five interfaces); it has started when a
watch shows it Running and its ``network-status`` has all five. Two labs, one after the other:

* in the first, pods one at a time: ``single_p50_ms``. Each is deleted before the next and the kernel has got
  quiet, so each is the first of its networks on its node, the dearest case; then bursts of 100:
  ``burst_pods_per_s`` is the median of 100 / (first creation sent .. last pod started);
* in the second, 500 pods, 50 at a time: ``per_pod_ms`` is the wall-clock time per pod of the first fifty and
  of the last fifty, beside 450 others. Then probes between random interfaces of random pods, each judged
  as a scenario's matrix is (any that is not as expected ends the benchmark), the memory, and the end of the
  whole lab: ``teardown_s``, from the call that stops it to the end of its last process.

Processor time per pod is told by role, since on a busy machine it says more than a clock. The roles, the
pods and this program (it creates the pods and watches them) share the machine. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.model.objects import ANNOTATION_STATUS, Obj, annotations_of, name_of, section
from multinet.waits import pause, wait_for

if TYPE_CHECKING:
    from topology.mininet_lab import MininetLab

NODES = ("node1", "node2")
BURST, STEP = 100, 50
_LIMIT_S = 120.0
_SAMPLE_PODS, _SAMPLE_PAIRS = 40, 400
_QUIET_S, _QUIET_IN_A_ROW, _QUIET_LIMIT_S = 0.001, 5, 3.0
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def pod(name: str, networks: int) -> Obj:
    """A pod that idles, on whatever node, with that many networks besides the default one."""
    selected = ",".join(f"net{number}" for number in range(networks))
    metadata = {
        "name": name,
        "namespace": "default",
        "annotations": {"k8s.v1.cni.cncf.io/networks": selected},
    }
    spec = {"containers": [{"name": "main", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def nad(number: int) -> Obj:
    """One network with room for all pods."""
    return {
        "apiVersion": resources.NADS.api_version,
        "kind": resources.NADS.kind,
        "metadata": {
            "name": f"net{number}",
            "namespace": "default",
            "annotations": {"opencontrail.org/cidr": f"10.{100 + number}.0.0/16"},
        },
        "spec": {"config": json.dumps({"cniVersion": "0.3.1", "type": "contrail-k8s-cni"})},
    }


class Cluster:
    """The pods of one lab: makes them, and knows when each has started."""

    def __init__(self, client: Client, networks: int) -> None:
        self._client = client
        self._networks = networks
        self._pods = Informer(client, resources.PODS)
        self._pods.on_change(self._changed)
        self._there = asyncio.Event()
        self.started: dict[str, float] = {}

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        name = name_of(new or old or {})
        if new is None:
            self.started.pop(name, None)
        elif name not in self.started and self._is_up(new):
            self.started[name] = time.perf_counter()
        else:
            return
        self._there.set()

    def _is_up(self, found: Obj) -> bool:
        if section(found, "status").get("phase") != "Running":
            return False
        told = json.loads(annotations_of(found).get(ANNOTATION_STATUS) or "[]")
        return len(told) == self._networks + 1

    async def run(self) -> None:
        """Watch, until cancelled."""
        await self._pods.run()

    async def set_up(self) -> None:
        """Make the networks; return when they are there."""
        made = Informer(self._client, resources.VIRTUAL_NETWORKS)
        watching = asyncio.create_task(made.run())
        await asyncio.gather(
            *(self._client.create(resources.NADS, nad(each)) for each in range(self._networks))
        )
        await made.wait_until("all networks", lambda store: len(store) > self._networks, _LIMIT_S)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    async def start(self, names: Iterable[str]) -> float:
        """Make pods, all at once; return the milliseconds until the last one has started."""
        wanted = list(names)
        begun = time.perf_counter()
        made = (self._client.create(resources.PODS, pod(name, self._networks)) for name in wanted)
        await asyncio.gather(*made)
        await wait_for(f"{len(wanted)} pods to start", self._until(wanted, there=True), _LIMIT_S)
        return 1000 * (max(self.started[name] for name in wanted) - begun)

    async def end(self, names: Iterable[str]) -> float:
        """Delete pods; return the milliseconds until the last one is gone from the API."""
        wanted = list(names)
        begun = time.perf_counter()
        gone = (self._client.delete(resources.PODS, name, "default") for name in wanted)
        await asyncio.gather(*gone)
        await wait_for(f"{len(wanted)} pods to go", self._until(wanted, there=False), _LIMIT_S)
        return 1000 * (time.perf_counter() - begun)

    async def _until(self, names: list[str], *, there: bool) -> None:
        while not all((name in self.started) == there for name in names):
            self._there.clear()
            await self._there.wait()


class Processes:
    """The lab's processes: whose time and memory is whose. ``roles`` are names by PID."""

    def __init__(self, roles: dict[int, str]) -> None:
        self._roles = roles

    def cpu_ms(self) -> dict[str, float]:
        """Processor time so far by role, with that of its ended children (CNI plugin, start of sandboxes)."""
        found: dict[str, float] = defaultdict(float)
        for pid, role in self._roles.items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found[role] += _TICK_MS * (int(fields[11]) + int(fields[12]))
            if (children := _TICK_MS * (int(fields[13]) + int(fields[14]))) > 0:
                found[f"{role}'s children"] += children
        return found

    def memory_kb(self) -> dict[str, float]:
        """Proportional set sizes by role; what is no role and not ours belongs to pods."""
        found: dict[str, float] = defaultdict(float)
        for directory in Path("/proc").glob("[0-9]*"):
            pid = int(directory.name)
            try:
                name = (directory / "comm").read_text().strip()
                lines = (directory / "smaps_rollup").read_text().splitlines()
            except OSError:  # it has just ended
                continue
            pss = next((float(line.split()[1]) for line in lines if line.startswith("Pss:")), 0.0)
            if pid in self._roles:
                found[self._roles[pid]] += pss
            elif name.startswith("multinet-pause"):
                found["pods"] += pss
        return found


async def quiet() -> None:
    """Return when the kernel's network configuration is not busy with what was deleted before."""
    from multinet.vrouter import links
    from multinet.vrouter.netlink import Socket

    through, in_a_row, deadline = Socket(), 0, time.monotonic() + _QUIET_LIMIT_S
    while in_a_row < _QUIET_IN_A_ROW and time.monotonic() < deadline:
        begun = time.perf_counter()
        through.send([links.set_up(1, "lo")])
        in_a_row = in_a_row + 1 if time.perf_counter() - begun < _QUIET_S else 0
        await pause("the kernel to get quiet", 0.01)
    through.close()


def available_kb() -> float:
    """What the machine has left, of which the kernel's own structures have taken their share."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def probe(lab: MininetLab, client_pods: list[Obj], nads: list[Obj], networks: list[Obj]) -> dict[str, int]:
    """Probe a sample of the interface matrix; verdicts by count."""
    from topology.expectation import Expectations
    from topology.graph import PROTOCOLS, Reachability, plain
    from traffic import matrix
    from traffic.endpoint import inspect_all
    from traffic.probe import Prober

    draw = random.Random(7)
    expected = Expectations().observe(client_pods, nads, networks)
    chosen = draw.sample(expected, min(_SAMPLE_PODS, len(expected)))
    spaces = {f"{each.namespace}/{each.pod}": each.netns for each in lab.sandboxes()}
    seen = inspect_all({each.pod: spaces[each.pod] for each in chosen})
    endpoints = [one for listed in seen.values() if isinstance(listed, list) for one in listed]
    reach = Reachability(expected, {one.place: one.addresses for one in endpoints})
    places = [(each.pod, item.interface) for each in chosen for item in each.interfaces]
    pairs = [(draw.choice(places), draw.choice(places)) for _ in range(_SAMPLE_PAIRS)]
    # Of random pairs four of five are in different networks; as many again are in the same one.
    pairs += [(one, draw.choice([each for each in places if each[1] == one[1]])) for one, _ in pairs]
    pairs = [(one, other) for one, other in dict.fromkeys(pairs) if one[0] != other[0]]
    verdicts = [reach.judge(one, other, protocol) for one, other in pairs for protocol in PROTOCOLS]
    wanted = frozenset(verdict.key for verdict in verdicts if verdict.must_reach)
    prober = Prober(endpoints, control_netns=[lab.node_netns(node) for node in lab.nodes])
    judged = matrix.build(prober.run(pairs, PROTOCOLS, expected=wanted), plain(verdicts))
    wrong = [cell for cell in judged.cells if cell.verdict in ("fail", "unknown")]
    for cell in wrong[:3]:
        print(f"{cell.key}: {cell.text}", file=sys.stderr)
    return {str(verdict): count for verdict, count in judged.counts.items()}


async def small(cluster: Cluster, processes: Processes, given: argparse.Namespace) -> dict[str, Any]:
    """One at a time, then in bursts."""
    await cluster.start(["warm-up"])
    await cluster.end(["warm-up"])
    single, gone, bursts, ends = [], [], [], []
    before = processes.cpu_ms()
    for number in range(given.singles):
        await quiet()
        single.append(await cluster.start([f"single-{number}"]))
        gone.append(await cluster.end([f"single-{number}"]))
    between = processes.cpu_ms()
    spent: dict[str, float] = defaultdict(float)
    for turn in range(given.bursts):
        names = [f"burst-{turn}-{number}" for number in range(BURST)]
        await quiet()
        earlier = processes.cpu_ms()
        bursts.append(await cluster.start(names))
        for role, value in processes.cpu_ms().items():
            spent[role] += (value - earlier.get(role, 0)) / BURST / given.bursts
        ends.append(await cluster.end(names))
    return {
        "single_ms": single,
        "gone_ms": gone,
        "burst_ms": bursts,
        "burst_gone_ms": ends,
        "cpu_single": {role: (between[role] - before.get(role, 0)) / given.singles for role in between},
        "cpu_burst": spent,
    }


async def large(cluster: Cluster, processes: Processes, given: argparse.Namespace) -> dict[str, Any]:
    """Fifty after fifty."""
    steps, cpu = [], []
    memory, left = processes.memory_kb(), available_kb()
    for start in range(0, given.pods, STEP):
        earlier = processes.cpu_ms()
        names = [f"pod-{number}" for number in range(start, min(given.pods, start + STEP))]
        steps.append(await cluster.start(names) / len(names))
        after = processes.cpu_ms()
        cpu.append({role: (after[role] - earlier.get(role, 0)) / len(names) for role in after})
    return {
        "step_ms": steps,
        "cpu_first": cpu[0],
        "cpu_last": cpu[-1],
        "memory_before": memory,
        "memory": processes.memory_kb(),
        "machine_kb": left - available_kb(),
    }


async def in_lab(lab: MininetLab, processes: Processes, given: argparse.Namespace) -> dict[str, Any]:
    """Drive one lab; what was measured."""
    async with Client(load_kubeconfig(lab.kubeconfig)) as client:
        cluster = Cluster(client, given.networks)
        watching = asyncio.create_task(cluster.run())
        await cluster.set_up()
        measured = await (small if given.part == "small" else large)(cluster, processes, given)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        if given.part == "large":
            kinds = (resources.PODS, resources.NADS, resources.VIRTUAL_NETWORKS)
            listed = [(await client.list(kind)).items for kind in kinds]
            # Blocks, but nothing else is going on in this loop now.
            measured["cells"] = probe(lab, *listed)
        return measured


def part(given: argparse.Namespace) -> None:
    """Child: one lab in namespaces of its own. Prints its JSON line, then ends the lab and itself."""
    from topology import isolation

    isolation.enter()
    import uvloop

    from topology.backend import LabSpec
    from topology.mininet_backend import MininetBackend
    from topology.roles import CONTROL_PLANE, LATE

    roles: dict[int, str] = {}

    def note(kind: str, data: dict[str, Any]) -> None:
        if kind == "role-ready":
            roles[data["pid"]] = data["role"]

    with tempfile.TemporaryDirectory(prefix="multinet-bench-") as scratch:
        lab = MininetBackend().start(LabSpec(NODES, Path(scratch)), note)
        try:
            for role in sorted(LATE):
                lab.wait_role(role, CONTROL_PLANE, _LIMIT_S)
            measured = uvloop.run(in_lab(lab, Processes(roles), given))
        except BaseException:
            lab.close()
            raise
        # Seconds of this clock are the same in all namespaces.
        print(json.dumps(measured | {"stopped_at": time.monotonic()}), flush=True)
        lab.stop()


def measure(which: str, given: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """What one lab's process measured, and how many seconds the lab took to end."""
    options = [f"--{name}={getattr(given, name)}" for name in ("singles", "bursts", "pods", "networks")]
    argv = [sys.executable, str(Path(__file__).resolve()), f"--part={which}", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        output, _ = child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"the {which} lab failed with status {child.returncode}")
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured, time.monotonic() - measured["stopped_at"]


def show(first: dict[str, Any], second: dict[str, Any], teardown: float, given: argparse.Namespace) -> None:
    """The tables for people."""
    console = Console()
    table = Table("what", "median", "fastest", "slowest", "n", title=f"pods with {given.networks} networks")
    rows = (
        ("one pod: created to Running, ms", first["single_ms"]),
        ("one pod: deleted to gone, ms", first["gone_ms"]),
        (f"burst of {BURST}: created to Running, ms per pod", [ms / BURST for ms in first["burst_ms"]]),
        (f"burst of {BURST}: deleted to gone, ms per pod", [ms / BURST for ms in first["burst_gone_ms"]]),
        (f"{STEP} more of {given.pods}, ms per pod", second["step_ms"]),
    )
    for what, values in rows:
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(what, *(f"{number:.1f}" for number in numbers), str(len(values)))
    console.print(table)
    kinds = {"one": "cpu_single", "burst": "cpu_burst", "first": "cpu_first", "last": "cpu_last"}
    columns = {name: (first | second)[key] for name, key in kinds.items()}
    titles = ("one, with its end", f"burst of {BURST}", f"first {STEP}", f"last {STEP}")
    table = Table("role", *titles, title="processor time, ms per pod")
    roles = sorted({role for column in columns.values() for role in column})
    for role in roles:
        table.add_row(role, *(f"{column.get(role, 0):.1f}" for column in columns.values()))
    table.add_row("all", *(f"{sum(column.values()):.1f}" for column in columns.values()))
    console.print(table)
    table = Table("memory", "MB without pods", f"MB with {given.pods}", "kB per pod", title="memory (PSS)")
    before, after = second["memory_before"], second["memory"]
    for role in sorted(after):
        was, now = before.get(role, 0), after[role]
        table.add_row(role, f"{was / 1e3:.1f}", f"{now / 1e3:.1f}", f"{(now - was) / given.pods:.0f}")
    taken = second["machine_kb"]
    table.add_row("the machine, kernel included", "", f"{taken / 1e3:+.1f}", f"{taken / given.pods:.0f}")
    console.print(table)
    console.print(f"{given.pods} pods: cells {second['cells']}; the lab ended in {teardown:.2f} s")


def main() -> None:
    """Measure, print tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--singles", type=int, default=21)
    parser.add_argument("--bursts", type=int, default=3)
    parser.add_argument("--pods", type=int, default=500)
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--part", choices=("small", "large"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        part(given)
        return
    first, _ = measure("small", given)
    second, teardown = measure("large", given)
    show(first, second, teardown, given)
    if second["cells"]["fail"] or second["cells"]["unknown"]:
        raise SystemExit("not all probes went as expected")
    steps = second["step_ms"]
    result = {
        "single_p50_ms": round(statistics.median(first["single_ms"]), 1),
        "burst_pods_per_s": round(1000 * BURST / statistics.median(first["burst_ms"]), 1),
        "per_pod_ms": {str(STEP): round(steps[0], 1), str(given.pods): round(steps[-1], 1)},
        "teardown_s": round(teardown, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
