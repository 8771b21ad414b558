"""The agent's live counters in a lab: told to the underlay, refused to pods."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios.launch import Options, launch

pytestmark = pytest.mark.lab

SCENARIO = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata: { name: counters }
spec:
  steps:
    - name: a pod
      apply:
        - apiVersion: v1
          kind: Pod
          metadata: { name: a }
          spec: { nodeName: node1, containers: [{ name: main, image: x, command: [sleep, "60"] }] }
    - name: up
      wait: { pods: [a] }
    - name: the pod sends
      exec:
        pod: a
        command: [python3, -c, "import socket; socket.socket(2, 2).sendto(b'x', ('10.32.0.9', 9))"]
    - name: the control plane reads the counters
      exec: { node: cp, command: [python3, -c, "FETCH"], contains: [sentPackets, "/02:"] }
    - name: a pod is refused
      exec: { pod: a, command: [python3, -c, "FETCH"], contains: "403", exitCode: 1 }
""".replace(
    "FETCH",
    "import urllib.request as r; print(r.urlopen('http://100.64.0.11:8085/counters', timeout=20).read())",
)


def test_counters_are_told_to_the_underlay_only(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO)
    outcome = launch(file, Options(runs_dir=tmp_path / "runs"))
    assert outcome.report is not None, outcome.problems
    assert [(step.verdict, step.reason) for step in outcome.report.steps] == [("pass", "")] * 5
