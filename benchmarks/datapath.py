"""Throughput and round trips between pods, beside hand-made devices in the same nodes of the same lab.

Usage: ``.venv/bin/python benchmarks/datapath.py [--rounds 101] [--seconds 0.04] [--echoes 400]``

Two pods on node1 and one on node2, of one NAD network (bridged) and the default network (routed), and as many
hand-made namespaces: on each node a bridge with a veth each, and a VXLAN device between the nodes with one
static flood entry; same MTU. All three are measured in turns, each for a moment, first some that don't count:

* TCP: one stream, sender on CPU 0, receiver on CPU 1;
* latency: echo requests one after the other, answered by the other kernel, all on one CPU; the median.

The programs run all the time, with real-time priority where the machine allows it: what others do on it is
little, and meets both sides of a round alike. A ratio is the median over rounds of "pods against hand-made of
that round", above 1 when the pods are faster; half of the rounds lie within the quartiles told with it.
Then all nftables rules are taken from the nodes and the NAD network is measured again: what that changes is
the price of port security, policies and services. Last line: one JSON object, the NAD network's ratios.
"""

from __future__ import annotations

import argparse
import functools
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topology import isolation

ROOT = Path(__file__).resolve().parent.parent
STREAM, ECHOES = (ROOT / "benchmarks/scripts" / name for name in ("tcp_stream.py", "echoes.py"))
# The second goes on with a warning where its priority is refused.
_PRIORITIES = (("chrt", "-r", "1"), ("nice", "-n", "-20"))
SAME, CROSS = "same_node", "cross_node"
HAND, NAD, DEFAULT = "hand-made", "NAD network", "default network"
PLACES = {"a": "node1", "b": "node1", "c": "node2"}
HAND_VNI = 0xBEEF
AIMS = {SAME: 0.95, CROSS: 0.90}

WARM_UP = 3

Key = tuple[str, str]
Ratios = dict[Key, dict[str, tuple[float, float, float]]]
"""By place and sort, then by what: median, first and third quartile."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two namespaces, and the address of the second."""

    source: str
    target: str
    address: str


class Helper:
    """A program of ours in a network namespace, on one CPU: a line in, a line out."""

    def __init__(self, netns: str, cpu: int, program: Path, *arguments: str) -> None:
        self._what = f"{program.name} {' '.join(arguments)}"
        self._process = subprocess.Popen(
            _at(netns, cpu, sys.executable, "-ISE", str(program), *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> None:
        """Have it measure."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._what} ended with status {self._process.wait()}")
        return line.strip()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class Measured:
    """Bits per second of a stream, and microseconds of a round trip."""

    tcp: float
    latency_us: float


def manifests() -> list[dict[str, object]]:
    """The NAD and the pods, with addresses of their own choice."""
    annotations = {"opencontrail.org/cidr": "10.77.0.0/24"}
    nad: dict[str, object] = {
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
        self.pairs: dict[Key, Pair] = {}
        for where, name in targets.items():
            number = 10 + list(PLACES).index(name)
            self.pairs[where, HAND] = Pair(hand["a"], hand[name], f"10.99.0.{number}")
            self.pairs[where, NAD] = Pair(pods["a"], pods[name], f"10.77.0.{number}")
            self.pairs[where, DEFAULT] = Pair(pods["a"], pods[name], self._default_address(name))
        pairs = self.pairs.values()
        receivers = {each.address: Helper(each.target, 1, STREAM, "receive", each.address) for each in pairs}
        for receiver in receivers.values():
            receiver.hear()
        self._streams = {
            key: (Helper(each.source, 0, STREAM, "send", each.address), receivers[each.address])
            for key, each in self.pairs.items()
        }
        self._echoing = {
            key: Helper(each.source, 1, ECHOES, each.address) for key, each in self.pairs.items()
        }
        self._helpers = [
            *receivers.values(),
            *(sender for sender, _ in self._streams.values()),
            *self._echoing.values(),
        ]

    def tcp(self, key: Key) -> float:
        """One stream: bits per second."""
        sender, receiver = self._streams[key]
        sender.tell(str(self._seconds))
        return float(receiver.hear())

    def latency_us(self, key: Key) -> float:
        """One series of echoes: the median round trip."""
        helper = self._echoing[key]
        helper.tell(str(self._echoes))
        return float(helper.hear())

    def without_rules(self) -> None:
        """Take all nftables rules from both nodes, whose agents must not make them again."""
        for node in ("node1", "node2"):
            self.lab.kill("vrouter", node, signal.SIGSTOP)
            self._on(node, "nft", "flush", "ruleset")

    def close(self) -> None:
        """End the lab and the hand-made namespaces."""
        for helper in self._helpers:
            helper.close()
        for node in ("node1", "node2"):
            self.lab.kill("vrouter", node, signal.SIGKILL)
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
    return ["nsenter", f"--net={netns}", "taskset", "-c", str(cpu), *_priority(), *argv]


@functools.cache
def _priority() -> tuple[str, ...]:
    first, second = _PRIORITIES
    return second if subprocess.run([*first, "true"], capture_output=True, check=False).returncode else first


def _run(*argv: str, stdin: str | None = None) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr or done.stdout}")
    return done.stdout


def rounds(bench: Bench, count: int, sorts: Sequence[str]) -> dict[Key, list[Measured]]:
    """Measure in turns, each round in another order; the first ones don't count."""
    found: defaultdict[Key, list[Measured]] = defaultdict(list)
    for number in range(count + WARM_UP):
        for where in (SAME, CROSS):
            wanted = [(where, sort) for sort in (sorts if number % 2 else reversed(sorts))]
            # What is compared comes one after the other.
            rates = [bench.tcp(key) for key in wanted]
            trips = [bench.latency_us(key) for key in wanted]
            if number >= WARM_UP:
                for key, rate, trip in zip(wanted, rates, trips, strict=True):
                    found[key].append(Measured(rate, trip))
    return found


def ratios(found: dict[Key, list[Measured]]) -> Ratios:
    """Against hand-made, round by round."""
    made: Ratios = {}
    for (where, sort), ours in found.items():
        both = list(zip(ours, found[where, HAND], strict=True))
        made[where, sort] = {
            "tcp_ratio": _middle([our.tcp / hand.tcp for our, hand in both]),
            "latency_ratio": _middle([hand.latency_us / our.latency_us for our, hand in both]),
        }
    return made


def _middle(values: Sequence[float]) -> tuple[float, float, float]:
    first, middle, third = statistics.quantiles(values, n=4)
    return round(middle, 3), round(first, 3), round(third, 3)


def report(found: dict[Key, list[Measured]], bare: Ratios) -> Ratios:
    """Print the table and where the rest goes; return the ratios."""
    from rich.console import Console
    from rich.table import Table

    made = ratios(found)
    table = Table("where", "what", "TCP Gb/s", "round trip us", "TCP ratio", "latency ratio")
    for key, values in found.items():
        rate = statistics.median(each.tcp / 1e9 for each in values)
        trip = statistics.median(each.latency_us for each in values)
        shown = (f"{middle} ({first}-{third})" for middle, first, third in made[key].values())
        table.add_row(*key, f"{rate:.2f}", f"{trip:.2f}", *shown)
    console = Console(width=110)
    console.print(table)
    for where, aim in AIMS.items():
        ours, rest = ({name: each[0] for name, each in of[where, NAD].items()} for of in (made, bare))
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
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--seconds", type=float, default=0.04)
    parser.add_argument("--echoes", type=int, default=400)
    given = parser.parse_args()
    isolation.enter()
    with tempfile.TemporaryDirectory(prefix="multinet-bench-") as scratch:
        bench = Bench(Path(scratch), seconds=given.seconds, echoes=given.echoes)
        try:
            found = rounds(bench, given.rounds, (HAND, NAD, DEFAULT))
            bench.without_rules()
            bare = ratios(rounds(bench, max(5, given.rounds // 2), (HAND, NAD)))
        finally:
            bench.close()
    made = report(found, bare)
    last = {where: {name: each[0] for name, each in made[where, NAD].items()} for where in (SAME, CROSS)}
    print(json.dumps(last))


if __name__ == "__main__":
    main()
