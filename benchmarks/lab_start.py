"""How long a lab takes to start, and the right-network run, beside a bare Mininet of the same hosts.

Usage: ``.venv/bin/python benchmarks/lab_start.py [--starts 10] [--runs 3]``

* ``lab_ready_s``: from the call that starts a run to its event ``lab-ready`` (API answering, nodes Ready),
  a new process and new namespaces each time;
* ``run_s``: the whole run of ``scenarios/library/right-network.yaml``, reports included;
* ``bare_mininet_s``: stock Mininet hosts ``cp``, ``node1``, ``node2``, stock links and one bridge: built,
  started and stopped, in namespaces of its own (its own import and process start are not counted).

The three are measured in turns, so that a busy machine slows all of them. Last line: one JSON object with
the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reports.events import Event
from scenarios.launch import Options, launch

ROOT = Path(__file__).resolve().parent.parent
RIGHT_NETWORK = ROOT / "scenarios/library/right-network.yaml"
ONLY_A_LAB = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata: {name: only-a-lab}
spec:
  lab: {nodes: 2}
  steps:
    - name: both nodes are Ready
      kubectl: {argv: [wait, --for=condition=Ready, node/node1, node/node2, --timeout=1s]}
"""


def lab_ready(scenario: Path, runs_dir: Path) -> float:
    """Seconds from the call to the event ``lab-ready``."""
    ready: list[float] = []

    def note(event: Event) -> None:
        if event.kind == "lab-ready":
            ready.append(time.perf_counter())

    begun = time.perf_counter()
    outcome = launch(scenario, Options(runs_dir=runs_dir, on_event=note))
    if outcome.exit_status != 0 or not ready:
        raise SystemExit(f"the lab did not start: {outcome.problems or outcome.run_dir}")
    return ready[0] - begun


def whole_run(runs_dir: Path) -> float:
    """Seconds of the right-network run, from the call to the written reports."""
    begun = time.perf_counter()
    outcome = launch(RIGHT_NETWORK, Options(runs_dir=runs_dir))
    if outcome.exit_status != 0:
        raise SystemExit(f"the run did not pass: see {outcome.report_path}")
    return time.perf_counter() - begun


def bare_mininet() -> float:
    """Seconds of a bare Mininet start and stop, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--bare"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout.splitlines()[-1])


def bare() -> None:
    """Child: time stock Mininet in namespaces of its own, and print the seconds."""
    from topology import isolation

    isolation.enter()
    from topology.mininet_api import Host, Link, Mininet, Switch

    class Bridge(Switch):  # type: ignore[misc]
        """Stock Mininet's LinuxBridge needs brctl; this is the same with ip."""

        def start(self, _controllers: list[object]) -> None:
            self.cmd("ip link add", self.name, "type bridge")
            for intf in self.intfList():
                if self.name in intf.name:
                    self.cmd("ip link set", intf.name, "master", self.name, "up")
            self.cmd("ip link set", self.name, "up")

        def stop(self, deleteIntfs: bool = True) -> None:
            self.cmd("ip link del", self.name)
            super().stop(deleteIntfs)

    Mininet.inited = True  # fixLimits would change sysctls of the machine
    begun = time.perf_counter()
    net = Mininet(host=Host, link=Link, switch=Bridge, controller=None, build=False)
    bridge = net.addSwitch("s1", dpid="1")
    for name in ("cp", "node1", "node2"):
        net.addLink(net.addHost(name), bridge)
    net.build()
    net.start()
    net.stop()
    print(time.perf_counter() - begun)


def main() -> None:
    """Measure in turns, print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bare()
        return
    seconds: dict[str, list[float]] = {"lab_ready_s": [], "run_s": [], "bare_mininet_s": []}
    with tempfile.TemporaryDirectory(prefix="multinet-bench-") as scratch:
        runs_dir = Path(scratch) / "runs"
        scenario = Path(scratch) / "only-a-lab.yaml"
        scenario.write_text(ONLY_A_LAB)
        for turn in range(given.starts):
            seconds["lab_ready_s"].append(lab_ready(scenario, runs_dir))
            seconds["bare_mininet_s"].append(bare_mininet())
            if turn < given.runs:
                seconds["run_s"].append(whole_run(runs_dir))
    table = Table("what", "median", "fastest", "slowest", "n", title="seconds")
    for what, values in seconds.items():
        row = (statistics.median(values), min(values), max(values))
        table.add_row(what, *(f"{value:.3f}" for value in row), str(len(values)))
    Console().print(table)
    print(json.dumps({what: round(statistics.median(values), 3) for what, values in seconds.items()}))


if __name__ == "__main__":
    main()
