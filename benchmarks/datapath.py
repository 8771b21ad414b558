"""Throughput and round trips between pods, beside hand-made devices in the same nodes of the same lab.

Usage: ``.venv/bin/python benchmarks/datapath.py [--rounds 21] [--seconds 0.25] [--echoes 3000]``

Two pods on node1 and one on node2, of one NAD network (bridged) and the default network (routed), and as many
hand-made namespaces: on each node a bridge with a veth each, and a VXLAN device between the nodes with one
static flood entry; same MTU. Three sorts are measured in turns, first a warm-up that does not count:

* TCP: one stream, sender on CPU 0, receiver on CPU 1;
* latency: echo requests one after the other, answered by the other kernel, all on one CPU; the median.

Both run at the highest ordinary priority, where the machine allows it, so that others disturb less.

A ratio is the median over rounds of "pods against hand-made of that round", above 1 when the pods are faster.
Then all nftables rules are taken from the nodes and the NAD network is measured again: what that changes is
the price of port security, policies and services. Last line: one JSON object, the NAD network's ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from topology import isolation

ROOT = Path(__file__).resolve().parent.parent
STREAM, ECHOES = (ROOT / "benchmarks/scripts" / name for name in ("tcp_stream.py", "echoes.py"))
# nice(1) goes on with a warning where the priority is refused.
_PRIORITY = ("nice", "-n", "-20")
SAME, CROSS = "same_node", "cross_node"
HAND, NAD, DEFAULT = "hand-made", "NAD network", "default network"
PLACES = {"a": "node1", "b": "node1", "c": "node2"}
HAND_VNI = 0xBEEF
AIMS = {SAME: 0.95, CROSS: 0.90}

Ratios = dict[tuple[str, str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two namespaces, and the address of the second."""

    source: str
    target: str
    address: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Bits per second of a stream, and microseconds of a round trip."""

    tcp: float
    latency_us: float


def manifests() -> list[dict[str, object]]:
    """The NAD and the pods, with addresses of their own choice."""
    annotations = {"opencontrail.org/cidr": "10.77.0.0/24"}
    nad = {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "net", "namespace": "default", "annotations": annotations},
        "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
    }
    made: list[dict[str, object]] = [nad]
    for number, (name, node) in enumerate(PLACES.items(), start=10):
        selection = json.dumps([{"name": "net", "ips": [f"10.77.0.{number}"]}])
        metadata = {"name": name, "namespace": "default"}
        container = {"name": "main", "image": "busybox", "command": ["sleep", "3600"]}
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata | {"annotations": {"k8s.v1.cni.cncf.io/networks": selection}},
                "spec": {"nodeName": node, "containers": [container]},
            }
        )
    return made


class Bench:
    """A lab with pods and hand-made namespaces; call it inside :func:`topology.isolation.enter`."""

    def __init__(self, run_dir: Path, *, seconds: float, echoes: int) -> None:
        from topology.backend import LabSpec
        from topology.mininet_backend import MininetBackend

        self._seconds, self._echoes = seconds, echoes
        self.lab = MininetBackend().start(LabSpec(("node1", "node2"), run_dir), lambda _kind, _data: None)
        self._holders: list[subprocess.Popen[bytes]] = []
        self._apply()
        pods = {name: self.lab.sandbox("default", name).netns for name in PLACES}
        pods = {name: f"/proc/{self.lab.sandbox('default', name).pid}/ns/net" for name in pods}
        hand = self._by_hand()
        targets = {SAME: "b", CROSS: "c"}
        self.pairs: dict[tuple[str, str], Pair] = {}
        for where, name in targets.items():
            number = 10 + list(PLACES).index(name)
            self.pairs[where, HAND] = Pair(hand["a"], hand[name], f"10.99.0.{number}")
            self.pairs[where, NAD] = Pair(pods["a"], pods[name], f"10.77.0.{number}")
            self.pairs[where, DEFAULT] = Pair(pods["a"], pods[name], self._default_address(name))

    def measure(self, pair: Pair) -> Measured:
        """One stream and one series of echoes."""
        receiver = subprocess.Popen(
            _at(pair.target, 1, sys.executable, "-ISE", str(STREAM), "receive", pair.address),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert receiver.stdout is not None
        receiver.stdout.readline()
        sending = _at(pair.source, 0, sys.executable, "-ISE", str(STREAM), "send", pair.address)
        subprocess.run([*sending, str(self._seconds)], check=True, timeout=60)
        out, _ = receiver.communicate(timeout=60)
        echoing = _at(pair.source, 1, sys.executable, "-ISE", str(ECHOES), pair.address, str(self._echoes))
        return Measured(float(out), float(_run(*echoing)))

    def without_rules(self) -> None:
        """Take all nftables rules from both nodes."""
        for node in ("node1", "node2"):
            self._on(node, "nft", "flush", "ruleset")

    def close(self) -> None:
        """End the lab and the hand-made namespaces."""
        self.lab.close()
        for holder in self._holders:
            holder.kill()
            holder.wait()

    def _apply(self) -> None:
        from scenarios.actions.commands import kubectl_path

        kubectl = [str(kubectl_path()), "--kubeconfig", str(self.lab.kubeconfig)]
        listed = {"apiVersion": "v1", "kind": "List", "items": manifests()}
        _run(*kubectl, "apply", "--validate=false", "-f", "-", stdin=json.dumps(listed))
        _run(*kubectl, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=30s")

    def _default_address(self, pod: str) -> str:
        shown = json.loads(
            self.lab.pod_exec("default", pod, ["ip", "-j", "-4", "addr", "show", "eth0"]).stdout
        )
        return str(shown[0]["addr_info"][0]["local"])

    def _by_hand(self) -> dict[str, str]:
        """What an administrator would type: ``{name: namespace path}``."""
        ends = {node: self.lab.node_ip(node) for node in ("node1", "node2")}
        for node, other in (("node1", "node2"), ("node2", "node1")):
            self._on(node, "ip", "link", "add", "hand", "mtu", "1500", "type", "bridge")
            vxlan = ["type", "vxlan", "id", str(HAND_VNI), "local", ends[node], "remote", ends[other]]
            self._on(node, "ip", "link", "add", "handvx", "mtu", "1500", *vxlan, "dstport", "4789")
            self._on(node, "ip", "link", "set", "handvx", "master", "hand", "up")
            self._on(node, "ip", "link", "set", "hand", "up")
        made = {}
        for number, (name, node) in enumerate(PLACES.items(), start=10):
            holder = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._holders.append(holder)
            assert holder.stdin is not None
            assert holder.stdout is not None
            # What comes back says that the namespace is made.
            holder.stdin.write(b".")
            holder.stdin.flush()
            holder.stdout.read(1)
            path = f"/proc/{holder.pid}/ns/net"
            veth = ["type", "veth", "peer", "name", "eth0", "mtu", "1500", "netns", str(holder.pid)]
            self._on(node, "ip", "link", "add", f"hand-{name}", "mtu", "1500", *veth)
            self._on(node, "ip", "link", "set", f"hand-{name}", "master", "hand", "up")
            inside = ["nsenter", f"--net={path}", "ip"]
            _run(*inside, "addr", "add", f"10.99.0.{number}/24", "dev", "eth0")
            _run(*inside, "link", "set", "eth0", "up")
            made[name] = path
        return made

    def _on(self, node: str, *argv: str) -> None:
        done = self.lab.exec(node, argv)
        if done.status:
            raise SystemExit(f"{' '.join(argv)} on {node}: {done.stderr}")


def _at(netns: str, cpu: int, *argv: str) -> list[str]:
    return ["nsenter", f"--net={netns}", "taskset", "-c", str(cpu), *_PRIORITY, *argv]


def _run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr or done.stdout}")
    return done.stdout


def rounds(bench: Bench, count: int, sorts: Iterable[str]) -> dict[tuple[str, str], list[Measured]]:
    """Measure in turns, each round in another order; the first one does not count."""
    found: defaultdict[tuple[str, str], list[Measured]] = defaultdict(list)
    wanted = [key for key in bench.pairs if key[1] in set(sorts)]
    for number in range(count + 1):
        for key in wanted if number % 2 else reversed(wanted):
            measured = bench.measure(bench.pairs[key])
            if number:
                found[key].append(measured)
    return found


def ratios(found: dict[tuple[str, str], list[Measured]]) -> Ratios:
    """Against hand-made, round by round; the medians."""
    made: Ratios = {}
    for (where, sort), ours in found.items():
        both = list(zip(ours, found[where, HAND], strict=True))
        made[where, sort] = {
            "tcp_ratio": round(statistics.median(our.tcp / hand.tcp for our, hand in both), 3),
            "latency_ratio": round(
                statistics.median(hand.latency_us / our.latency_us for our, hand in both), 3
            ),
        }
    return made


def report(found: dict[tuple[str, str], list[Measured]], bare: Ratios) -> Ratios:
    """Print the table and where the rest goes; return the ratios."""
    from rich.console import Console
    from rich.table import Table

    made = ratios(found)
    table = Table(
        "where", "what", "TCP Gb/s", "spread", "round trip us", "spread", "TCP ratio", "latency ratio"
    )
    for key, values in found.items():
        rates = sorted(each.tcp / 1e9 for each in values)
        trips = sorted(each.latency_us for each in values)
        table.add_row(
            *key,
            f"{statistics.median(rates):.2f}",
            f"{rates[0]:.2f}-{rates[-1]:.2f}",
            f"{statistics.median(trips):.2f}",
            f"{trips[0]:.2f}-{trips[-1]:.2f}",
            *map(str, made[key].values()),
        )
    console = Console(width=110)
    console.print(table)
    for where, aim in AIMS.items():
        ours, rest = made[where, NAD], bare[where, NAD]
        console.print(
            f"{where}: aim {aim}; NAD network {ours['tcp_ratio']} TCP, {ours['latency_ratio']} latency; "
            f"without any nftables rule on the nodes {rest['tcp_ratio']} and {rest['latency_ratio']}. The "
            "difference is the price of port security (a comparison and a hash look-up for each packet) and "
            "of the hooks of policies and services; what then differs from 1 is the devices and noise"
        )
    return made


def main() -> None:
    """Measure, print, and end with the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--echoes", type=int, default=3000)
    given = parser.parse_args()
    isolation.enter()
    with tempfile.TemporaryDirectory(prefix="multinet-bench-") as scratch:
        bench = Bench(Path(scratch), seconds=given.seconds, echoes=given.echoes)
        try:
            found = rounds(bench, given.rounds, (HAND, NAD, DEFAULT))
            bench.without_rules()
            bare = ratios(rounds(bench, max(3, given.rounds // 2), (HAND, NAD)))
        finally:
            bench.close()
    made = report(found, bare)
    print(json.dumps({where: made[where, NAD] for where in (SAME, CROSS)}))


if __name__ == "__main__":
    main()
