"""CNI ADD and DEL of pods with k sidecar networks: ours, and Debian's bridge + host-local once per network.

Usage: ``.venv/bin/python benchmarks/cni_add.py [--turns 15] [--networks 1,2,4,8,16]``

A lab of one node runs with everything real: API server, controller, node agent; its kubelet is stopped, and
this program calls the plugins in its place. The pods exist and their addresses are known. A pod has the
default network and k sidecar networks:

* ours: one call attaches all k + 1, writes status and annotation through the API, and answers;
* the peer: ``bridge`` with ``host-local`` is called once for each of the same k + 1 networks, the least that
  a delegating meta-plugin does (its own process and its writes to the API are not counted). The ratios to the
  calls for the k sidecar networks alone are told too (``..._to_sidecars``): ours has one network more then.

Another pod is in all the networks already, so that their bridges are there on both sides. Both are measured
in turns on the same node, after the kernel has got quiet; a figure is the time from starting the first plugin
process to the end of the last one. Last line: one JSON object with medians and their ratios (ours / peer).
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from multinet.kube import resources
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.model.attachments import VirtualMachine
from multinet.waits import pause, wait_for

PEER = Path("/usr/lib/cni/bridge")
NODE = "node1"
KS = (1, 2, 4, 8, 16)
RESIDENT = "resident"
_QUIET_S = 0.001
_QUIET_IN_A_ROW = 5
_LIMIT_S = 30.0


def pod(name: str, k: int) -> dict[str, Any]:
    """A pod with k sidecar networks, on the node."""
    selected = ",".join(f"net{number}" for number in range(k))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/networks": selected},
        },
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "x"}]},
    }


def nad(number: int) -> dict[str, Any]:
    """One sidecar network."""
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": f"net{number}",
            "namespace": "default",
            "annotations": {"opencontrail.org/cidr": f"10.77.{number}.0/24"},
        },
        "spec": {"config": json.dumps({"cniVersion": "1.0.0", "type": "contrail-k8s-cni"})},
    }


async def decide(kubeconfig: Path, ks: Sequence[int]) -> dict[str, str]:
    """Make networks and pods; return the pods' UIDs when the controller has decided all of them."""
    async with Client(load_kubeconfig(kubeconfig)) as client:
        for number in range(max(ks)):
            await client.create(resources.NADS, nad(number))
        uids = {}
        for name, k in {RESIDENT: max(ks), **{str(k): k for k in ks}}.items():
            made = await client.create(resources.PODS, pod(f"pod-{name}", k))
            uids[name] = str(made["metadata"]["uid"])

        async def decided() -> None:
            while True:
                listed = await client.list(resources.VIRTUAL_MACHINES)
                if sum(VirtualMachine.from_object(each).is_resolved for each in listed.items) == len(uids):
                    return
                await pause("the controller to decide", 0.05)

        await wait_for("all pods to be decided", decided(), _LIMIT_S)
        return uids


def outer(given: argparse.Namespace, ks: Sequence[int]) -> list[dict[str, Any]]:
    """Start the lab, have the pods decided, and measure in the node's namespaces."""
    from topology import isolation

    isolation.enter()
    from topology.backend import LabSpec
    from topology.mininet_backend import MininetBackend

    with tempfile.TemporaryDirectory(prefix="multinet-bench-") as scratch:
        lab = MininetBackend().start(LabSpec((NODE,), Path(scratch)), lambda _kind, _data: None)
        try:
            lab.kill("kubelet", NODE, signal.SIGSTOP)
            uids = asyncio.run(decide(lab.kubeconfig, ks))
            argv = [sys.executable, str(Path(__file__).resolve()), "--inside", json.dumps(uids)]
            done = lab.exec(NODE, [*argv, "--turns", str(given.turns)], limit_s=600)
        finally:
            lab.kill("kubelet", NODE, signal.SIGKILL)
            lab.close()
    if done.status != 0:
        raise SystemExit(f"the measurement failed: {done.stderr}{done.stdout}")
    measured: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return measured


def call(binary: Path, command: str, container: str, ifname: str, config: dict[str, Any], args: str) -> bytes:
    """One plugin call; its standard output."""
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": ifname,
        "CNI_PATH": str(PEER.parent),
        "CNI_ARGS": args,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [str(binary)], input=json.dumps(config).encode(), env=env, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{binary} {command} {ifname}: {done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout


def ours(uid: str, name: str, k: int) -> Callable[[str, str], float]:
    """A function that calls our plugin for a pod."""
    from multinet.cni.install import plugin_path

    binary = plugin_path()
    config = {"cniVersion": "1.0.0", "name": "multinet", "type": "multinet-cni"}

    def run(command: str, container: str) -> float:
        args = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-{name};K8S_POD_UID={uid}"
        answer = call(binary, command, container, "eth0", config, args)
        if command == "ADD" and len(json.loads(answer)["interfaces"]) != k + 1:
            raise SystemExit(f"not all of {k + 1} interfaces: {answer.decode()}")
        return 0.0

    return run


def peer(state: Path, k: int) -> Callable[[str, str], float]:
    """A function that calls the peer once per network, the default one first; ms of that first call."""

    def run(command: str, container: str) -> float:
        begun, first = time.perf_counter(), 0.0
        for number in range(k + 1):
            ipam = {"type": "host-local", "subnet": f"10.78.{number}.0/24", "dataDir": str(state)}
            name = f"peer{number}"
            config = {"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": name, "ipam": ipam}
            call(PEER, command, container, f"eth{number}", config, "")
            first = first or (time.perf_counter() - begun) * 1000
        return first

    return run


def quiet() -> None:
    """Return when the kernel's network configuration is not busy with what was deleted before."""
    from multinet.vrouter import links
    from multinet.vrouter.netlink import Socket

    through, in_a_row, deadline = Socket(), 0, time.monotonic() + _LIMIT_S
    while in_a_row < _QUIET_IN_A_ROW and time.monotonic() < deadline:
        begun = time.perf_counter()
        through.send([links.set_up(1, "lo")])
        in_a_row = in_a_row + 1 if time.perf_counter() - begun < _QUIET_S else 0
        asyncio.run(pause("the kernel to get quiet", 0.01))
    through.close()


def inside(uids: dict[str, str], turns: int) -> None:
    """Measure; print a JSON list of ``{side, k, command, ms}``."""
    measured = []
    resident = uids.pop(RESIDENT)
    most = max(map(int, uids))
    with tempfile.TemporaryDirectory(dir="/run") as state:
        for number, run in enumerate((ours(resident, RESIDENT, most), peer(Path(state), most))):
            name = f"{RESIDENT}-{number}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            run("ADD", name)
        # The first turn warms both sides up; it is not counted.
        for turn in range(turns + 1):
            for text, uid in uids.items():
                k = int(text)
                sides = {"ours": ours(uid, text, k), "peer": peer(Path(state), k)}
                for side in sorted(sides, reverse=bool(turn % 2)):
                    container = f"{side}-{k}-{turn}"
                    subprocess.run(["ip", "netns", "add", container], check=True)
                    for command in ("ADD", "DEL"):
                        quiet()
                        begun = time.perf_counter()
                        first = sides[side](command, container)
                        took = (time.perf_counter() - begun) * 1000
                        if turn:
                            measured.append({"side": side, "k": k, "command": command, "ms": took})
                            measured.append({**measured[-1], "side": f"{side} sidecars", "ms": took - first})
                    subprocess.run(["ip", "netns", "delete", container], check=True)
    print(json.dumps(measured))


def _ratio(middle: dict[tuple[str, int, str], float], k: int, command: str, side: str) -> float:
    return round(middle["ours", k, command] / middle[side, k, command], 3)


def main() -> None:
    """Measure, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--networks", default=",".join(map(str, KS)))
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        inside(json.loads(given.inside), given.turns)
        return
    if not PEER.exists():
        raise SystemExit(f"{PEER} is not there: apt-get install containernetworking-plugins")
    ks = tuple(int(word) for word in given.networks.split(","))
    found: dict[tuple[str, int, str], list[float]] = {}
    for item in outer(given, ks):
        found.setdefault((item["side"], item["k"], item["command"]), []).append(item["ms"])
    table = Table("call", "k", "ours", "(spread)", "peer", "(spread)", "ratio", title="ms, medians")
    middle = {key: statistics.median(values) for key, values in found.items()}
    ratios: dict[str, list[float]] = {"ADD": [], "DEL": []}
    for command, values in ratios.items():
        for k in ks:
            mine, theirs = ("ours", k, command), ("peer", k, command)
            values.append(_ratio(middle, k, command, "peer"))
            shown = [
                text
                for key in (mine, theirs)
                for text in (f"{middle[key]:.2f}", f"{min(found[key]):.2f}-{max(found[key]):.2f}")
            ]
            table.add_row(command, str(k), *shown, f"{values[-1]:.3f}")
    Console().print(table)
    last = {
        "k": list(ks),
        "add_ms": [round(middle["ours", k, "ADD"], 2) for k in ks],
        "peer_add_ms": [round(middle["peer", k, "ADD"], 2) for k in ks],
        "del_ms": [round(middle["ours", k, "DEL"], 2) for k in ks],
        "peer_del_ms": [round(middle["peer", k, "DEL"], 2) for k in ks],
        "add_ratio": ratios["ADD"],
        "del_ratio": ratios["DEL"],
        "add_ratio_to_sidecars": [_ratio(middle, k, "ADD", "peer sidecars") for k in ks],
        "del_ratio_to_sidecars": [_ratio(middle, k, "DEL", "peer sidecars") for k in ks],
    }
    print(json.dumps(last))


if __name__ == "__main__":
    main()
