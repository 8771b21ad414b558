"""Whole runs, with real labs: the walk passes, a dead tunnel fails exactly its cells, ends are clean."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reports.events import Event, read
from scenarios.launch import Options, Outcome, launch

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
POD = """\
        - apiVersion: v1
          kind: Pod
          metadata: {{ name: {name}, annotations: {{ k8s.v1.cni.cncf.io/networks: left }} }}
          spec: {{ nodeName: {node}, containers: [{{ name: main, image: x, command: [sleep, "60"] }}] }}
"""
NETWORK = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata: { name: tunnel }
spec:
  steps:
    - name: objects
      apply:
        - apiVersion: k8s.cni.cncf.io/v1
          kind: NetworkAttachmentDefinition
          metadata: { name: left, annotations: { opencontrail.org/cidr: 10.1.1.0/24 } }
          spec: { config: '{"cniVersion": "0.3.0", "type": "contrail-k8s-cni"}' }
"""
PODS = "".join(POD.format(name=pod, node=f"node{number}") for pod, number in (("a", 1), ("b", 1), ("c", 2)))
READY = """\
    - name: ready
      wait: { pods: all }
"""
# The overlay device of the NAD's network is the one in a bridge; the default network's is routed.
# The node agent would mend it at once.
CUT = """\
    - name: the agent can mend nothing
      fault: { kill: { role: vrouter, node: node1, signal: STOP } }
    - name: cut one tunnel
      fault:
        netns:
          node: node1
          command:
            - sh
            - -c
            - ip link set $(ip -o link show type vxlan | grep 'master br-' | cut -d ':' -f 2) down
    - name: probe
      matrix: {}
    - name: probe with the fault known
      matrix:
        expect: [{ from: "*:eth1", to: "*:eth1", nodes: [node1, node2], reachable: false }]
"""


def run(tmp_path: Path, text: str, **options: Any) -> Outcome:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return launch(path, Options(runs_dir=tmp_path / "runs", **options))


def test_the_walk_passes_within_its_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "multinet.cli", "run", "scenarios/library/right-network.yaml"]
    done = subprocess.run(
        [*command, "--runs-dir", tmp_path], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.splitlines()[-1] == "exit status 0: passed", done.stdout
    report = json.loads((tmp_path / "latest" / "report.json").read_text())
    assert report["statistics"]["cells"]["pass"] == len(report["steps"][5]["cells"]) * 2 > 1000
    assert {cell["protocol"] for cell in report["steps"][5]["cells"]} == {"arp", "icmp", "udp", "tcp"}
    for capture in report["captures"]:
        assert (tmp_path / "latest" / capture["path"]).stat().st_size > 24


def test_a_dead_tunnel_fails_exactly_the_cells_that_cross_it(tmp_path: Path) -> None:
    outcome = run(tmp_path, NETWORK + PODS + READY + CUT)
    assert outcome.exit_status == 1
    assert outcome.report is not None
    probe, with_fault = outcome.report.steps[4:6]
    failed = {cell for cell in probe.cells if cell.verdict == "fail"}
    crossing = {cell for cell in probe.cells if cell.crosses and cell.source_interface == "eth1"}
    assert failed == crossing
    assert len(failed) == 16
    assert with_fault.verdict == "pass"
    titles = [item.title for item in probe.evidence]
    assert "pod default/a" in titles
    assert "interfaces, routes and FDB of node1 (kernel)" in titles
    assert "end of the log of vrouter-node1" in titles


def test_a_check_sees_an_address_the_annotation_does_not_tell(tmp_path: Path) -> None:
    added = """\
    - name: add an address behind everyone's back
      exec: { pod: a, command: [ip, addr, add, 10.1.1.7/24, dev, eth1] }
    - name: compare
      check: { pods: [a] }
"""
    outcome = run(tmp_path, NETWORK + PODS + READY + added)
    assert outcome.report is not None
    assert outcome.report.steps[-1].verdict == "fail"
    (row,) = [row for row in outcome.report.steps[-1].attachments if row.verdict == "fail"]
    assert (row.pod, row.interface, row.field) == ("default/a", "eth1", "addresses")
    assert "10.1.1.7/24" in row.kernel
    assert "annotation and kernel differ" in row.detail


def test_leftovers_are_found(tmp_path: Path) -> None:
    planted = """\
    - name: plant a link
      fault: { netns: { node: node1, command: [ip, link, add, planted, type, veth] } }
    - name: delete
      delete: { objects: [pod/a, pod/b, pod/c], gracePeriodSeconds: 0 }
    - name: look
      leftovers: { timeout: 500ms }
"""
    outcome = run(tmp_path, NETWORK + PODS + READY + planted)
    assert outcome.report is not None
    assert outcome.report.steps[-1].verdict == "fail"
    assert "link planted (veth) on node1" in outcome.report.steps[-1].reason


def test_what_cannot_come_up_says_why(tmp_path: Path) -> None:
    lonely = NETWORK.replace("name: objects", "name: objects\n      expect: pending") + POD.format(
        name="a", node="node1"
    ).replace("networks: left", "networks: nowhere")
    wait = "    - name: ready\n      wait: { pods: [a], timeout: 1s }\n"
    wait += "    - name: probe\n      wait: { pods: [a] }\n"
    outcome = run(tmp_path, lonely + wait)
    assert outcome.report is not None
    _, ready, probe = outcome.report.steps
    assert "pod default/a is Pending (NADNotFound: " in ready.reason
    assert (probe.verdict, probe.reason) == ("not run", "it needs the step 'ready', which did not pass")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_tears_down_and_reports(tmp_path: Path, how: signal.Signals) -> None:
    def at_the_end(event: Event) -> None:
        if event.kind == "step-started" and event.data["name"] == "long":
            os.kill(os.getpid(), how)

    long = "    - name: long\n      exec: { node: node1, command: [sleep, '60'], timeout: 60s }\n"
    outcome = run(tmp_path, NETWORK + PODS + READY + long, on_event=at_the_end)
    assert outcome.exit_status == 3
    assert outcome.report is not None
    assert [step.verdict for step in outcome.report.steps] == ["pass", "pass", "interrupted"]
    assert outcome.report.seconds < 45
    assert outcome.run_dir is not None
    assert read(outcome.run_dir / "events.jsonl")[-1].data["verdict"] == "interrupted"
